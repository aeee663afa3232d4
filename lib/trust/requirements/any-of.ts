/** One good signature by one of the signers is enough; where there is none, the reasons of all are told. */
import * as z from "zod/mini";
import { type Refusal, refusal, type Trusted, type Verdict } from "../verdict.ts";

/** Pairs of signature and signer that are tried. */
const MAX_TRIES = 1000;
/** Reasons that one sentence can hold. */
const MAX_REASONS = 5;

export async function anyOf<C, S>(
  candidates: readonly C[],
  signers: readonly S[],
  verify: (candidate: C, signer: S) => Promise<Verdict>,
  faults: readonly string[],
): Promise<Verdict> {
  const reasons = new Set<string>();
  let first: Refusal | undefined, tries = 0;
  for (const candidate of candidates) {
    for (const signer of signers) {
      if (++tries > MAX_TRIES) return refusal(`none of the first ${MAX_TRIES} pairs of signature and key counts`);
      const verdict = await verify(candidate, signer);
      if (verdict.trusted) return verdict;
      first ??= verdict;
      reasons.add(verdict.reason);
    }
  }
  for (const fault of faults) reasons.add(fault);
  if (reasons.size === 0) return refusal("it has no such signature");
  if (reasons.size === 1 && first !== undefined) return first;
  const shown = [...reasons].slice(0, MAX_REASONS), more = reasons.size - shown.length;
  return refusal(
    `${candidates.length === 0 ? "it has no such signature" : "no signature counts"}: ${shown.join("; ")}${
      more > 0 ? `; and ${more} more reasons` : ""
    }`,
  );
}

export const annotationsSchema = z.record(z.string(), z.string());

/** What the signer must have added, and signed: the product, the channel. */
export function annotationsRefusal(
  wanted: Record<string, string> | undefined,
  { annotations = {} }: Trusted,
): Refusal | undefined {
  for (const [name, value] of Object.entries(wanted ?? {})) {
    const found = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
    if (found !== value) return refusal(`the signed annotation ${name} is another`, value, found ?? "none");
  }
  return undefined;
}
