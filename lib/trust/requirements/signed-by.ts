/** OpenPGP signatures (`signedBy`): known by name, so that the refusal can say what is the matter. */
import * as z from "zod/mini";
import type { RequirementKind } from "../requirement.ts";
import { refusal } from "../verdict.ts";

export const signedBy: RequirementKind<object> = {
  type: "signedBy",
  own: false,
  schema: z.looseObject({ type: z.literal("signedBy") }),
  prepare: () =>
    Promise.resolve({
      type: "signedBy",
      words: "signed with OpenPGP, which cos does not read: all are refused",
      proves: true,
      needs: [],
      verify: () =>
        Promise.resolve(refusal("the policy asks for an OpenPGP signature (signedBy), which cos does not read")),
    }),
};
