/**
 * Signatures as cosign 1 and 2, skopeo and podman attach them: layers of an image at the tag `sha256-DIGEST.sig`, each a small
 * document (`simple signing`) with the signature over its bytes beside it (cosign, specs/SIGNATURE_SPEC.md; containers/image,
 * docs/containers-signature.5.md).
 */
import * as z from "zod/mini";
import type { Bytes } from "../base/bytes.ts";
import type { Digest } from "../base/digest.ts";
import { decodeBase64 } from "../formats/base64.ts";
import { FormatError } from "../formats/format-error.ts";
import { pemBlocks } from "../formats/pem.ts";
import { MAX_CHAIN } from "./chain.ts";
import { type KeylessPolicy, verifyKeyless, type Witnesses } from "./keyless.ts";
import { notSignedBy, type PublicKey, verifySignature } from "./keys.ts";
import { compareEntry } from "./log-body.ts";
import { type LogEntry, MAX_ENTRY, verifyPromise } from "./log-entry.ts";
import type { LogKey } from "./log-keys.ts";
import { type PkiPolicy, verifyPki } from "./pki.ts";
import { base64, count, hex, maybe, parseShape, someBase64 } from "./shape.ts";
import { MAX_PAYLOAD, textsOf } from "./statement.ts";
import { reading, type Refusal, refuse, type Trusted, type Verdict, verdictOf } from "./verdict.ts";

const ANNOTATION = {
  signature: "dev.cosignproject.cosign/signature",
  certificate: "dev.sigstore.cosign/certificate",
  chain: "dev.sigstore.cosign/chain",
  bundle: "dev.sigstore.cosign/bundle",
  timestamp: "dev.sigstore.cosign/rfc3161timestamp",
} as const;

/** One layer: its blob, whose digest was proven, and its descriptor's annotations. */
export interface Attachment {
  bytes: Bytes;
  annotations: Readonly<Record<string, string>>;
}

export interface AttachmentPolicy {
  signer: AttachmentKeyPolicy | KeylessPolicy | PkiPolicy;
  /** Whether the name under which the image was signed will do; without it any name will. */
  acceptReference?: (signed: string) => Refusal | undefined;
}

export interface AttachmentKeyPolicy {
  key: PublicKey;
  /** RSA with PSS. */
  pss?: boolean;
  /** Then one of these logs must have promised to list the signature; else what it brings of a log is not looked at. */
  logs?: readonly LogKey[];
}

export async function verifyAttachment(
  { bytes: payload, annotations }: Attachment,
  digest: Digest,
  { signer: policy, acceptReference }: AttachmentPolicy,
): Promise<Verdict> {
  return await verdictOf("the signature cannot be used", async () => {
    if (payload.length > MAX_PAYLOAD) refuse(`the signature's payload has more than ${MAX_PAYLOAD} bytes`);
    const signature = reading("the signature", () => decodeBase64(annotation(annotations, "signature") ?? ""));
    const trusted = "identity" in policy
      ? await verifyCertified(payload, signature, annotations, policy)
      : "roots" in policy
      ? await verifyPki(payload, signature, certificatesOf(annotations), policy)
      : await verifyKeyed(payload, signature, annotations, policy);
    // Only now that its bytes are the signer's are they read.
    const signed = reading("the signature's payload", () => parsePayload(payload));
    if (signed.digest !== digest) refuse("the signature is of another image", digest, signed.digest);
    return acceptReference?.(signed.reference) ?? {
      trusted: true,
      scheme: "cosign",
      ...trusted,
      signedReference: signed.reference,
      annotations: signed.annotations,
    };
  });
}

async function verifyKeyed(
  payload: Bytes,
  signature: Bytes,
  annotations: Attachment["annotations"],
  { key, pss, logs }: AttachmentKeyPolicy,
): Promise<Pick<Trusted, "signer" | "time">> {
  if (!await verifySignature(key, payload, signature, pss === undefined ? {} : { pss })) refuse(notSignedBy(key));
  const signer = { key: key.fingerprint };
  if (logs === undefined) return { signer };
  const entry = entryOf(annotations);
  if (entry === undefined) return refuse("the signature is in no transparency log");
  const time = await verifyPromise(entry, logs);
  await compareEntry(entry.body, { signature, signed: payload, verifier: { key: key.spki } });
  return { signer, time: time.toISOString() };
}

async function verifyCertified(
  payload: Bytes,
  signature: Bytes,
  annotations: Attachment["annotations"],
  policy: KeylessPolicy,
): Promise<Pick<Trusted, "signer" | "time">> {
  const entry = entryOf(annotations);
  const witnesses: Witnesses = {
    entries: entry === undefined ? [] : [entry],
    timestamps: timestampsOf(annotations),
    proofNeeded: false,
  };
  const certified = { signature, signed: payload, certificates: certificatesOf(annotations) };
  const { identity, time } = await verifyKeyless(certified, witnesses, policy);
  return { signer: { identity }, time };
}

function annotation(annotations: Attachment["annotations"], name: keyof typeof ANNOTATION): string | undefined {
  const key = ANNOTATION[name];
  return Object.hasOwn(annotations, key) ? annotations[key] : undefined;
}

function certificatesOf(annotations: Attachment["annotations"]): Bytes[] {
  const certificate = annotation(annotations, "certificate"), chain = annotation(annotations, "chain");
  if (certificate === undefined) return refuse("the signature brings no certificate");
  const leaf = reading("the signer's certificate", () => pemBlocks(certificate, "CERTIFICATE", 1));
  // A certificate without a chain has an empty one.
  const above = chain === undefined || chain === ""
    ? []
    : reading("the certificate's chain", () => pemBlocks(chain, "CERTIFICATE", MAX_CHAIN - 1));
  return [...leaf, ...above];
}

const entrySchema = z.strictObject({
  SignedEntryTimestamp: someBase64,
  Payload: z.strictObject({ body: base64, integratedTime: count, logIndex: count, logID: hex }),
});

/** What cosign keeps of Rekor's answer. */
function entryOf(annotations: Attachment["annotations"]): LogEntry | undefined {
  const text = annotation(annotations, "bundle");
  if (text === undefined) return undefined;
  const { SignedEntryTimestamp: promise, Payload: { body, integratedTime, logIndex: index, logID: logId } } = reading(
    "the signature's log entry",
    () => parseShape(entrySchema, new TextEncoder().encode(text), MAX_ENTRY),
  );
  return { body, integratedTime, index, logId, promise, proof: undefined };
}

const timestampSchema = z.strictObject({ SignedRFC3161Timestamp: someBase64 });

function timestampsOf(annotations: Attachment["annotations"]): Bytes[] {
  const text = annotation(annotations, "timestamp");
  if (text === undefined) return [];
  return reading("the signature's timestamp", () => [
    parseShape(timestampSchema, new TextEncoder().encode(text), MAX_ENTRY).SignedRFC3161Timestamp,
  ]);
}

// Another field could say something that only some programs heed: all must see the same document.
const payloadSchema = z.strictObject({
  critical: z.strictObject({
    type: z.literal("cosign container image signature"),
    image: z.strictObject({ "docker-manifest-digest": z.string() }),
    identity: z.strictObject({ "docker-reference": z.string() }),
  }),
  optional: maybe(z.record(z.string(), z.unknown())),
});

function parsePayload(payload: Bytes): { digest: string; reference: string; annotations: Record<string, string> } {
  const { critical, optional } = parseShape(payloadSchema, payload, MAX_PAYLOAD);
  const reference = critical.identity["docker-reference"];
  if (reference.length > MAX_REFERENCE) throw new FormatError("its docker-reference is too long");
  return { digest: critical.image["docker-manifest-digest"], reference, annotations: textsOf(optional ?? {}) };
}

/** As lib/formats/reference.ts has them: 255 for the name, and tag and digest. Characters. */
const MAX_REFERENCE = 1024;
