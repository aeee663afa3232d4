/** One image, its Notary Project signature, and a policy that trusts it: what the tests vary. */
import assert from "node:assert/strict";
import type { Bytes } from "../../../lib/base/bytes.ts";
import { type Digest, parseDigest } from "../../../lib/base/digest.ts";
import { parseCertificate } from "../../../lib/formats/x509.ts";
import { parseIdentities } from "../../../lib/trust/notary/identities.ts";
import { STRICT } from "../../../lib/trust/notary/trust-policy.ts";
import { type NotaryPolicy, verifyNotary } from "../../../lib/trust/notary/verify.ts";
import type { Issued } from "./certificates.ts";
import { SIGNED_AT } from "./instance.ts";
import { jsonBytes, sha256 } from "./keys.ts";
import { ENVELOPE_KINDS, issue, LEAF, makeNotary, makeNotarySite, type NotaryRequest } from "./notary.ts";

const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json";
const MANIFEST = jsonBytes({ schemaVersion: 2, mediaType: MEDIA_TYPE });
const DIGEST = `sha256:${(await sha256(MANIFEST)).toHex()}`;

export const TARGET = { mediaType: MEDIA_TYPE, digest: DIGEST, size: MANIFEST.length };
export const IMAGE = { digest: parseDigest(DIGEST) as Digest, bytes: MANIFEST };
/** A day after it was signed. */
export const NOW = new Date(+SIGNED_AT + 86_400_000);

export const SITE = await makeNotarySite();
export const SIGNER = await issue("lab release", { issuer: SITE.intermediate, extensions: LEAF });
export const CHAIN: [Issued, ...Issued[]] = [SIGNER, SITE.intermediate, SITE.root];

export function policyOf(authority: Issued | undefined, more: Partial<NotaryPolicy> = {}): NotaryPolicy {
  return {
    store: { ca: authority === undefined ? [] : [parseCertificate(authority.der)], signingAuthority: [], tsa: [] },
    identities: parseIdentities(["x509.subject: C=DE, ST=Bavaria, O=Lab\\, Inc."]),
    verifyTimestamp: "always",
    actions: STRICT,
    ...more,
  };
}

/** "trusted", or why not. */
export async function answerTo(
  layer: { mediaType: string; bytes: Bytes },
  policy: NotaryPolicy,
  now = NOW,
): Promise<string> {
  const verdict = await verifyNotary(layer, IMAGE, policy, now);
  return verdict.trusted ? "trusted" : verdict.reason;
}

export async function answerFor(
  request: Omit<NotaryRequest, "target"> & Partial<Pick<NotaryRequest, "target">>,
  policy: NotaryPolicy,
  now = NOW,
): Promise<string> {
  return await answerTo(await makeNotary({ target: TARGET, ...request }), policy, now);
}

/** Trusts the root, and the root with authorities for timestamps. */
export const GOOD = policyOf(SITE.root);
export const TIMED = policyOf(SITE.root, { store: { ...GOOD.store, tsa: [parseCertificate(SITE.timestampRoot.der)] } });

/** In both envelopes the answer must be the same. */
export async function bothSay(
  answer: string | RegExp,
  request: Partial<NotaryRequest>,
  policy = GOOD,
  now = NOW,
): Promise<void> {
  for (const envelope of ENVELOPE_KINDS) {
    const found = await answerFor({ chain: CHAIN, ...request, envelope }, policy, now);
    if (typeof answer === "string") assert.equal(found, answer, envelope);
    else assert.match(found, answer, envelope);
  }
}
