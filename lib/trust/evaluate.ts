/** Asking all requirements of a scope: every one must hold, and at least one must say who made the image. */
import type { Answer, Context, Material, Requirement } from "./requirement.ts";
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
  const answers = await answersOf(requirements, material, context), asked: Asked[] = [], proofs: Trusted[] = [];
  let refused = false, word: string | undefined;
  for (const [i, answer] of answers.entries()) {
    const { type, words } = requirements[i] as Requirement;
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

/** In the order of the requirements; those that may prove something are asked before those that rest on what is proven. */
async function answersOf(
  requirements: readonly Requirement[],
  material: Material,
  context: Context,
): Promise<Answer[]> {
  const answers: Answer[] = [], sofar: Trusted[] = [];
  // Of several ways one may be a proof and another a condition.
  const rank = ({ proves, needs }: Requirement) => proves ? 0 : needs.length > 0 ? 1 : 2;
  for (const [i, requirement] of [...requirements.entries()].sort(([, a], [, b]) => rank(a) - rank(b))) {
    const answer = answers[i] = await requirement.verify(material, context, sofar);
    if (answer !== "holds" && "trusted" in answer && answer.trusted) sofar.push(answer);
  }
  return answers;
}
