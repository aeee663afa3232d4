/** One good signature by one of the signers is enough; where there is none, the reasons of all are told. */
import * as z from "zod/mini";
import type { ArtifactNeed, Context, Found, Material } from "../requirement.ts";
import type { Subject } from "../sigstore-bundle.ts";
import { type Refusal, refusal, type Trusted, type Verdict } from "../verdict.ts";

/** Pairs of signature and signer that are tried. */
const MAX_TRIES = 1000;
/** Reasons that one sentence can hold. */
const MAX_REASONS = 5;

/** @param verify one signature of one subject, by one signer. */
export async function anySigned<S>(
  material: Material,
  need: ArtifactNeed,
  { subjects }: Context,
  signers: readonly S[],
  verify: (layer: Found["layers"][number], subject: Subject, signer: S) => Promise<Verdict>,
): Promise<Verdict> {
  const reasons = new Map<string, Refusal>();
  let tries = 0;
  for (const subject of subjects) {
    const { layers = [], faults = [] } = material[need]?.get(subject.digest) ?? {};
    for (const layer of layers) {
      for (const signer of signers) {
        if (++tries > MAX_TRIES) return refusal(`none of the first ${MAX_TRIES} pairs of signature and key counts`);
        const verdict = await verify(layer, subject, signer);
        if (verdict.trusted) return verdict;
        reasons.set(verdict.reason, verdict);
      }
    }
    for (const fault of faults) reasons.set(fault, refusal(fault));
  }
  const [first, ...more] = reasons.values();
  if (first === undefined) return refusal("it has no such signature");
  if (more.length === 0) return tries === 0 ? refusal(`it has no such signature: ${first.reason}`) : first;
  const told = [...reasons.keys()].slice(0, MAX_REASONS), rest = reasons.size - told.length;
  const what = tries === 0 ? "it has no such signature" : "none of its signatures counts";
  return refusal(`${what}: ${told.join("; ")}${rest > 0 ? `; and ${rest} more reasons` : ""}`);
}

export const annotationsSchema = z.record(z.string(), z.string());

/** What the signer must have added, and signed: the product, the channel. */
export function withAnnotations(wanted: Record<string, string> | undefined, verdict: Verdict): Verdict {
  return verdict.trusted ? annotationsRefusal(wanted, verdict) ?? verdict : verdict;
}

function annotationsRefusal(
  wanted: Record<string, string> | undefined,
  { annotations = {} }: Trusted,
): Refusal | undefined {
  for (const [name, value] of Object.entries(wanted ?? {})) {
    const found = Object.hasOwn(annotations, name) ? annotations[name] : undefined;
    if (found !== value) return refusal(`the signed annotation ${name} is another`, value, found ?? "none");
  }
  return undefined;
}
