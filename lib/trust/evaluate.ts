/** Asking all requirements of a scope: every one must hold, and at least one must say who made the image. */
import type { Context, Material, Requirement } from "./requirement.ts";
import type { Refusal, Trusted } from "./verdict.ts";

export interface Asked {
  requirement: Pick<Requirement, "type" | "words">;
  /** Absent where an earlier one has decided. */
  refusal?: Refusal;
}

export type Decision =
  | { kind: "trusted"; proofs: readonly [Trusted, ...Trusted[]]; asked: readonly Asked[] }
  /** Nothing is proven, by a word of the policy like `insecureAcceptAnything`, and the record says so. */
  | { kind: "waived"; word: string; asked: readonly Asked[] }
  | { kind: "refused"; asked: readonly Asked[] };

export async function evaluate(
  requirements: readonly Requirement[],
  material: Material,
  context: Context,
): Promise<Decision> {
  const asked: Asked[] = [], proofs: Trusted[] = [];
  let refused = false, word: string | undefined;
  for (const requirement of requirements) {
    const { type, words } = requirement, answer = await requirement.verify(material, context, proofs);
    if (answer !== "holds" && "waived" in answer) word ??= answer.waived;
    else if (answer !== "holds") {
      if (answer.trusted) proofs.push(answer);
      else {
        refused = true;
        asked.push({ requirement: { type, words }, refusal: answer });
        continue;
      }
    }
    asked.push({ requirement: { type, words } });
  }
  if (refused) return { kind: "refused", asked };
  const [first, ...more] = proofs;
  if (first !== undefined) return { kind: "trusted", proofs: [first, ...more], asked };
  if (word !== undefined) return { kind: "waived", word, asked };
  const refusal = {
    trusted: false as const,
    reason: "the policy asks for no signature, so nothing says who made the image",
  };
  return {
    kind: "refused",
    asked: [...asked, { requirement: { type: "none", words: "signed by somebody" }, refusal }],
  };
}
