/** `cos policy …` in the table of commands. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import type { CommonFlags, CosContext } from "./context.ts";
import { commonFlags, imageArgument, imageFlags } from "./flags.ts";
import type { TestFlags } from "./policy.ts";

const { key, plainHttp, authFile, json, debug } = imageFlags;
/** What it takes to ask for an image that is not to be written. */
const askingFlags = { key, plainHttp, authFile, json, debug };

const policyCheck = buildCommand<Omit<CommonFlags, "state">, [string?], CosContext>({
  loader: async () => (await import("./policy.ts")).runCheck,
  parameters: {
    flags: { json: commonFlags.json, debug: commonFlags.debug },
    positional: {
      kind: "tuple",
      parameters: [{
        parse: String,
        optional: true,
        placeholder: "FILE",
        brief: "A policy file (the one in force otherwise)",
      }],
    },
  },
  docs: {
    brief: "Say in words what a policy asks of images, and find its mistakes",
    fullDescription: "Reads the policy with all keys that it names. Changes nothing, and needs no network.",
  },
});

const policyTest = buildCommand<TestFlags, [string], CosContext>({
  loader: async () => (await import("./policy.ts")).runTest,
  parameters: { flags: askingFlags, positional: { kind: "tuple", parameters: [imageArgument] } },
  docs: {
    brief: "Say whether IMAGE would be installed, requirement by requirement",
    fullDescription:
      "Fetches its manifest and signatures, not its layers, and asks the policy. Ends with 0 if it would be installed, 31 if not.",
  },
});

export const policy = buildRouteMap({
  routes: { check: policyCheck, test: policyTest },
  docs: { brief: "What may be installed, and who must have signed it" },
});
