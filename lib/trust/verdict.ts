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
  scheme: "cosign" | "sigstore-bundle" | "notary" | "content-trust";
  /** The fingerprint of a key (`sha256:` and hex, of its SubjectPublicKeyInfo), or whom a certificate speaks for. */
  signer: { key: string } | { identity: Identity };
  /** ISO 8601; only a time that a log, a timestamp authority or a signing authority signed. */
  time?: string;
  /** The name under which the image was signed (`docker-reference`), where the scheme has one. */
  signedReference?: string;
  /** What the signer added, and signed. */
  annotations?: Record<string, string>;
  /** What spoke against it, and the policy only wants to have noted. */
  overlooked?: string[];
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
  refuseWith(refusal(what, expected, found));
}

export function refuseWith(refusal: Refusal): never {
  throw new Refused(refusal);
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
export async function verdictOf<T>(what: string, verify: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await verify();
  } catch (thrown) {
    if (thrown instanceof Refused) return thrown.refusal;
    if (isFormatError(thrown)) return refusal(`${what}: ${thrown.message}`);
    throw thrown;
  }
}

/** For checks whose failing may be borne: what they come to, or what speaks against it. */
export async function attempt<T>(check: () => T | Promise<T>): Promise<{ value?: T; refusal?: Refusal }> {
  try {
    return { value: await check() };
  } catch (thrown) {
    if (thrown instanceof Refused) return { refusal: thrown.refusal };
    if (isFormatError(thrown)) return { refusal: refusal(thrown.message) };
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
