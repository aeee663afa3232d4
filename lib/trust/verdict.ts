/** What verifying comes to: a value either way. Nothing that a stranger wrote makes anything here throw. */
import { displayText } from "../base/byte-string.ts";
import { isFormatError } from "../formats/format-error.ts";

/** Whom a certificate speaks for: a name, and who vouched for it (the issuer of the identity token). */
export interface Identity {
  san: string;
  issuer: string;
}

/** Who signed, when that is known, and what was signed besides the digest. */
export interface Trusted {
  trusted: true;
  scheme: "cosign" | "sigstore-bundle";
  /** The fingerprint of a key (`sha256:` and hex, of its SubjectPublicKeyInfo), or whom a certificate speaks for. */
  signer: { key: string } | { identity: Identity };
  /** ISO 8601; only a time that a log or a timestamp authority signed. */
  time?: string;
  /** The name under which the image was signed (`docker-reference`), where the scheme has one. */
  signedReference?: string;
  /** What the signer added, and signed. */
  annotations?: Record<string, string>;
}

export interface Refusal {
  trusted: false;
  /** Completes "Cannot trust X: …"; without a full stop, fit to be shown. */
  reason: string;
  expected?: string;
  found?: string;
}

export type Verdict = Trusted | Refusal;

/** Carries a refusal out of the depth; `verdictOf` makes a value of it. */
class Refused extends Error {
  override readonly name = "Refused";
  constructor(readonly refusal: Refusal) {
    super(refusal.reason);
  }
}

/** @param expected and `found`: the two values that differ; they become part of the sentence. */
export function refuse(what: string, expected?: string, found?: string): never {
  throw new Refused(refusal(what, expected, found));
}

export function refusal(what: string, expected?: string, found?: string): Refusal {
  const quote = (text: string) => displayText(text, 300);
  const both = expected === undefined || found === undefined
    ? ""
    : `: expected ${quote(expected)}, found ${quote(found)}`;
  return {
    trusted: false,
    reason: `${what}${both}`,
    ...(expected === undefined ? {} : { expected: quote(expected) }),
    ...(found === undefined ? {} : { found: quote(found) }),
  };
}

/** @param what begins the sentence where a reader says only what is wrong: "the bundle cannot be read". */
export async function verdictOf(what: string, verify: () => Promise<Verdict>): Promise<Verdict> {
  try {
    return await verify();
  } catch (thrown) {
    if (thrown instanceof Refused) return thrown.refusal;
    if (isFormatError(thrown)) return refusal(`${what}: ${thrown.message}`);
    throw thrown;
  }
}

/** Reads a part of something; its faults name the part. */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (isFormatError(thrown)) refuse(`${what} cannot be read: ${thrown.message}`);
    throw thrown;
  }
}

/** Signatures of one image that are read, of one scheme: each signing adds one, and nothing takes the old ones away. */
export const MAX_SIGNATURES = 100;

/** One good signature is enough, and bad ones beside it do no harm; where there is none, the reasons of all are told. */
export async function firstTrusted<T>(
  signatures: readonly T[],
  verify: (signature: T) => Promise<Verdict>,
): Promise<Verdict> {
  if (signatures.length > MAX_SIGNATURES) {
    return refusal(`it has ${signatures.length} signatures; at most ${MAX_SIGNATURES} are read`);
  }
  const refusals: Refusal[] = [];
  for (const signature of signatures) {
    const verdict = await verify(signature);
    if (verdict.trusted) return verdict;
    refusals.push(verdict);
  }
  const [first] = refusals, reasons = new Set(refusals.map(({ reason }) => reason));
  if (first === undefined) return refusal("it has no signature");
  if (reasons.size === 1) return first;
  const told = [...reasons].slice(0, MAX_REASONS), more = reasons.size > MAX_REASONS ? "; …" : "";
  return refusal(`none of its ${refusals.length} signatures counts: ${told.join("; ")}${more}`);
}

/** More would not be read by anybody. */
const MAX_REASONS = 5;
