import { CosError, ERROR_CODES } from "../lib/base/errors.ts";
import { findPolicy, readPolicy } from "../lib/config/policy.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { checkPolicy, noPolicy } from "../lib/operations/policy-check.ts";
import { trustMemory } from "../lib/operations/content-trust.ts";
import { judge } from "../lib/operations/prove.ts";
import { resolveSource } from "../lib/operations/source.ts";
import { renderJudgement, renderPolicy } from "../lib/ui/policy.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, statementsOf } from "./settings.ts";

const json = (operation: string, value: object) =>
  `${JSON.stringify({ schemaVersion: 1, operation, ...value }, undefined, 2)}\n`;

export async function runCheck(this: CosContext, flags: Omit<CommonFlags, "state">, file?: string): Promise<void> {
  await runJob(this, flags, async ({ print }) => {
    const policy = file === undefined
      ? await findPolicy({ root: "" })
      : await readPolicy(file, "", file !== CONTAINERS);
    if (policy === undefined) throw file === undefined ? noPolicy() : missing(file);
    const words = await checkPolicy(policy);
    print(flags.json ? json("policy check", words) : renderPolicy(words));
  });
}

const CONTAINERS = "/etc/containers/policy.json";

function missing(file: string): CosError {
  return new CosError("CONFIGURATION", `Cannot read the policy ${file}: it does not exist.`, {
    hint: "Check the path.",
  });
}

export type TestFlags = Omit<ImageFlags, "state" | "noVerify" | "size" | "replaceLinks" | "strict" | "verbose">;

/** Ends with the status that an upgrade would end with. */
export async function runTest(this: CosContext, flags: TestFlags, image: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print }) => {
    const machine = await machineSettings(statementsOf(flags));
    const settings = imageSettings(parseReference(image), flags, machine, system, events);
    const policy = await settings.policy();
    if (policy === undefined) throw noPolicy();
    const source = await resolveSource(system, settings, signal);
    const memory = trustMemory(system, undefined, settings.trustSeed);
    const judgement = await judge(system, source, settings, policy, memory, signal);
    if (judgement.decision.kind === "refused") {
      this.exitStatus = ERROR_CODES.UNTRUSTED.exit;
    }
    print(
      flags.json ? json("policy test", { image: source.name, ...judgement }) : renderJudgement(source.name, judgement),
    );
  });
}
