/** Requirements that look at nothing (containers-policy.json(5)). */
import * as z from "zod/mini";
import type { RequirementKind } from "../requirement.ts";
import { refusal } from "../verdict.ts";

export const acceptAnything: RequirementKind<object> = {
  type: "insecureAcceptAnything",
  own: false,
  schema: z.strictObject({ type: z.literal("insecureAcceptAnything") }),
  prepare: () =>
    Promise.resolve({
      type: "insecureAcceptAnything",
      words: "whatever it likes: nothing is verified",
      proves: true,
      needs: [],
      verify: () => Promise.resolve({ waived: "insecureAcceptAnything" }),
    }),
};

export const reject: RequirementKind<object> = {
  type: "reject",
  own: false,
  schema: z.strictObject({ type: z.literal("reject") }),
  prepare: () =>
    Promise.resolve({
      type: "reject",
      words: "another one: all are refused",
      proves: true,
      needs: [],
      verify: () => Promise.resolve(refusal("the policy rejects all images of this scope")),
    }),
};
