/** Sigstore's bundles, versions 0.1 to 0.3 (`Bundle` in sigstore/protobuf-specs): what cosign 3 attaches to an image. */
import type { Bytes } from "../base/bytes.ts";
import { sameBytes } from "../base/bytes.ts";
import type { Digest } from "../base/digest.ts";
import { parseBundle, type ParsedBundle } from "./bundle-format.ts";
import { type Certified, type KeylessPolicy, provenTimes, verifyEntries, verifyKeyless } from "./keyless.ts";
import { digestOf, notSignedBy, type PublicKey, verifySignature } from "./keys.ts";
import { preAuthEncoding, SIGNATURE_PREDICATE, verifyStatement } from "./statement.ts";
import type { TrustedRoot } from "./trusted-root.ts";
import { reading, refuse, type Trusted, type Verdict, verdictOf } from "./verdict.ts";

/** What is said to be signed: a manifest or an index as it was fetched. */
export interface Subject {
  readonly digest: Digest;
  /** Its own bytes, whose digest that is. */
  readonly bytes: Bytes;
  /** As the source calls it. */
  readonly mediaType?: string;
}

export interface KeyPolicy {
  key: PublicKey;
  pss?: boolean;
  /** Then the signature must also stand in one of its logs; otherwise what a bundle brings of a log is not looked at. */
  root?: TrustedRoot;
}

export interface BundlePolicy {
  /** Which statements count as "signed"; only that of `cosign sign` unless the policy names others. */
  predicateTypes?: readonly string[];
  signer: KeyPolicy | KeylessPolicy;
}

export async function verifyBundle(bundle: Uint8Array, subject: Subject, policy: BundlePolicy): Promise<Verdict> {
  return await verdictOf("the bundle cannot be used", async () => {
    const parsed = reading("the bundle", () => parseBundle(bundle)), { content, certificates } = parsed;
    const signature = await signatureOf(parsed, subject);
    let trusted: Pick<Trusted, "signer" | "time">;
    if ("identity" in policy.signer) {
      if (certificates === undefined) refuse("the bundle is signed by a key, and an identity is asked for");
      const { identity, time } = await verifyKeyless({ ...signature, certificates }, parsed.witnesses, policy.signer);
      trusted = { signer: { identity }, time };
    } else {
      if (certificates !== undefined) refuse("the bundle is signed by a certificate, and a key is asked for");
      trusted = await verifyKeyed(signature, parsed, policy.signer);
    }
    const annotations = content.kind === "message" ? {} : verifyStatement(
      content.payloadType,
      content.payload,
      subject.digest,
      policy.predicateTypes ?? [SIGNATURE_PREDICATE],
    );
    return { trusted: true, scheme: "sigstore-bundle", ...trusted, annotations };
  });
}

async function verifyKeyed(
  signature: Omit<Certified, "certificates">,
  { witnesses }: ParsedBundle,
  { key, pss, root }: KeyPolicy,
): Promise<Pick<Trusted, "signer" | "time">> {
  const signer = { key: key.fingerprint };
  if (!await verifySignature(key, signature.signed, signature.signature, pss === undefined ? {} : { pss })) {
    refuse(notSignedBy(key));
  }
  if (root === undefined) return { signer };
  if (witnesses.entries.length === 0) refuse("the signature is in no transparency log");
  const times = await provenTimes(signature.signature, witnesses, root), [time] = times;
  await verifyEntries({ ...signature, verifier: { key: key.spki } }, witnesses, root, times);
  return time === undefined ? { signer } : { signer, time: time.toISOString() };
}

async function signatureOf({ content }: ParsedBundle, { bytes }: Subject): Promise<Omit<Certified, "certificates">> {
  const { signature } = content;
  if (content.kind === "envelope") {
    return { signature, signed: preAuthEncoding(content.payloadType, content.payload), payload: content.payload };
  }
  // The digest in the bundle is a hint; one that contradicts the content is a bundle for something else.
  const digest = await digestOf(content.hash, bytes);
  if (!sameBytes(digest, content.digest)) {
    refuse("the bundle is of other content", digest.toHex(), content.digest.toHex());
  }
  return { signature, signed: bytes };
}
