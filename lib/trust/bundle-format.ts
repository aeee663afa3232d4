/** The text of a bundle. What a version must and must not have: `sigstore_bundle.proto` in sigstore/protobuf-specs. */
import * as z from "zod/mini";
import type { Bytes } from "../base/bytes.ts";
import { FormatError } from "../formats/format-error.ts";
import { isSelfIssued, parseCertificate } from "../formats/x509.ts";
import { MAX_CHAIN } from "./chain.ts";
import { MAX_WITNESSES, type Witnesses } from "./keyless.ts";
import type { Hash } from "./keys.ts";
import { checkedHashes, type LogEntry } from "./log-entry.ts";
import { base64, count, hashName, maybe, parseShape, someBase64 } from "./shape.ts";

/** The largest hold attestations. Bytes. */
export const MAX_BUNDLE = 8 * 1024 * 1024;

export interface ParsedBundle {
  content:
    | { kind: "envelope"; payloadType: string; payload: Bytes; signature: Bytes }
    | { kind: "message"; hash: Hash; digest: Bytes; signature: Bytes };
  /** The signer's first. Undefined where a key signed. */
  certificates: Bytes[] | undefined;
  witnesses: Witnesses;
}

const VERSIONS: Record<string, 1 | 2 | 3> = {
  "application/vnd.dev.sigstore.bundle+json;version=0.1": 1,
  "application/vnd.dev.sigstore.bundle+json;version=0.2": 2,
  "application/vnd.dev.sigstore.bundle+json;version=0.3": 3,
  "application/vnd.dev.sigstore.bundle.v0.3+json": 3,
};

const raw = z.strictObject({ rawBytes: someBase64 });
const proof = z.strictObject({
  // Protocol Buffers leave out what is zero or empty.
  logIndex: z._default(count, 0),
  rootHash: base64,
  treeSize: count,
  hashes: z._default(z.array(base64), []),
  checkpoint: maybe(z.strictObject({ envelope: z.string() })),
});
const entry = z.strictObject({
  logIndex: z._default(count, 0),
  logId: z.strictObject({ keyId: someBase64 }),
  kindVersion: z.strictObject({ kind: z.string(), version: z.string() }),
  integratedTime: maybe(count),
  inclusionPromise: maybe(z.strictObject({ signedEntryTimestamp: someBase64 })),
  inclusionProof: maybe(proof),
  canonicalizedBody: someBase64,
});
const material = z.strictObject({
  publicKey: maybe(z.strictObject({ hint: z.optional(z.string()) })),
  x509CertificateChain: maybe(
    z.strictObject({ certificates: z.array(raw).check(z.minLength(1), z.maxLength(MAX_CHAIN)) }),
  ),
  certificate: maybe(raw),
  tlogEntries: z._default(z.array(entry).check(z.maxLength(MAX_WITNESSES)), []),
  timestampVerificationData: maybe(z.strictObject({
    rfc3161Timestamps: z._default(
      z.array(z.strictObject({ signedTimestamp: someBase64 })).check(z.maxLength(MAX_WITNESSES)),
      [],
    ),
  })),
});
const schema = z.strictObject({
  mediaType: z.string(),
  verificationMaterial: material,
  messageSignature: maybe(z.strictObject({
    messageDigest: z.strictObject({ algorithm: hashName, digest: someBase64 }),
    signature: someBase64,
  })),
  dsseEnvelope: maybe(z.strictObject({
    payload: someBase64,
    payloadType: z.string(),
    // More than one would leave open whose word the bundle is.
    signatures: z.tuple([z.strictObject({ sig: someBase64, keyid: z.optional(z.string()) })]),
  })),
});

/** Throws `FormatError`. */
export function parseBundle(bytes: Uint8Array): ParsedBundle {
  const bundle = parseShape(schema, bytes, MAX_BUNDLE), { verificationMaterial: given } = bundle;
  const version = Object.hasOwn(VERSIONS, bundle.mediaType) ? VERSIONS[bundle.mediaType] : undefined;
  if (version === undefined) throw new FormatError("its version is not supported: only 0.1 to 0.3");
  const entries = given.tlogEntries.map(entryOf);
  // Version 0.1 relied on the promise; from 0.2 on the proof must be there.
  if (version === 1 && entries.some(({ promise }) => promise === undefined)) {
    throw new FormatError("a promise of its log is missing");
  }
  if (version > 1 && entries.some((e) => e.proof === undefined)) throw new FormatError("a proof of its log is missing");
  return {
    content: contentOf(bundle),
    certificates: certificatesOf(given, version),
    witnesses: {
      entries,
      timestamps: (given.timestampVerificationData?.rfc3161Timestamps ?? []).map(({ signedTimestamp }) =>
        signedTimestamp
      ),
      proofNeeded: version > 1,
    },
  };
}

function contentOf({ messageSignature, dsseEnvelope }: z.infer<typeof schema>): ParsedBundle["content"] {
  if ((messageSignature === undefined) === (dsseEnvelope === undefined)) {
    throw new FormatError("it holds no signature, or two");
  }
  if (dsseEnvelope !== undefined) {
    const { payload, payloadType, signatures: [{ sig }] } = dsseEnvelope;
    return { kind: "envelope", payload, payloadType, signature: sig };
  }
  const { messageDigest: { algorithm, digest }, signature } = messageSignature as NonNullable<typeof messageSignature>;
  return { kind: "message", hash: algorithm, digest, signature };
}

function certificatesOf(
  { publicKey, x509CertificateChain: chain, certificate }: z.infer<typeof material>,
  version: number,
) {
  if ([publicKey, chain, certificate].filter((signer) => signer !== undefined).length !== 1) {
    throw new FormatError("it names no signer, or two");
  }
  // Before 0.3 there was only the chain, since then there is only the certificate.
  if (version === 3 ? chain !== undefined : certificate !== undefined) {
    throw new FormatError("its certificate is not in the form of its version");
  }
  const ders = (chain?.certificates ?? (certificate === undefined ? [] : [certificate])).map(({ rawBytes }) =>
    rawBytes
  );
  // Whom to trust is the policy's to say: the format allows no root in a bundle, where older cosign's signatures have one.
  if (ders.slice(1).some((der) => isSelfIssued(parseCertificate(der)))) {
    throw new FormatError("it brings a root certificate of its own");
  }
  return publicKey === undefined ? ders : undefined;
}

function entryOf(given: z.infer<typeof entry>): LogEntry & { told: { kind: string; version: string } } {
  const { inclusionPromise, inclusionProof } = given;
  return {
    index: given.logIndex,
    logId: given.logId.keyId,
    integratedTime: given.integratedTime,
    body: given.canonicalizedBody,
    promise: inclusionPromise?.signedEntryTimestamp,
    // Without a checkpoint, which old bundles left out, it leads to a root that nobody signed: then it is none.
    proof: inclusionProof?.checkpoint === undefined ? undefined : {
      index: inclusionProof.logIndex,
      treeSize: inclusionProof.treeSize,
      rootHash: inclusionProof.rootHash,
      hashes: checkedHashes(inclusionProof.hashes),
      checkpoint: inclusionProof.checkpoint.envelope,
    },
    told: given.kindVersion,
  };
}
