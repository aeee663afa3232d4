/** Sigstore bundles of every version: by key and by identity, of messages and of statements, logged by either Rekor or by none. */
import type { Bytes } from "../../../lib/base/bytes.ts";
import { preAuthEncoding } from "../../../lib/trust/statement.ts";
import type { Issued } from "./certificates.ts";
import { type Instance, SIGNED_AT } from "./instance.ts";
import { jsonBytes, sha256, sign, type SigningKey, type SigningOptions } from "./keys.ts";
import { entryBody, type EntryKind, type LabLog, promise, proof, type Signed } from "./log.ts";
import { makeTimestamp } from "./timestamps.ts";

export const MEDIA_TYPES = {
  "0.1": "application/vnd.dev.sigstore.bundle+json;version=0.1",
  "0.2": "application/vnd.dev.sigstore.bundle+json;version=0.2",
  "0.3": "application/vnd.dev.sigstore.bundle.v0.3+json",
} as const;

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

/** What `cosign sign` says of an image. */
export function statement(
  digestHex: string,
  predicateType = "https://sigstore.dev/cosign/sign/v1",
  annotations = {},
): Bytes {
  return jsonBytes({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { sha256: digestHex }, annotations }],
    predicateType,
    predicate: {},
  });
}

export interface BundleRequest extends SigningOptions {
  version: keyof typeof MEDIA_TYPES;
  key: SigningKey;
  certificate?: Issued;
  /** Above the signer's; only versions before 0.3 have room for them. */
  chain?: readonly Issued[];
  /** One of both. */
  message?: Bytes;
  statement?: Bytes;
  log?: { kind: EntryKind; log: LabLog; promised?: boolean; proven?: boolean };
  stampedBy?: Instance;
  at?: Date;
}

/** As JSON text would hold it, so that tests can change any of it. */
// deno-lint-ignore no-explicit-any
export type BundleJson = any;

export async function makeBundle(request: BundleRequest): Promise<BundleJson> {
  const { version, key, certificate, message, log, stampedBy, at = SIGNED_AT } = request;
  const envelope = request.statement === undefined
    ? undefined
    : { payload: request.statement, payloadType: PAYLOAD_TYPE };
  const signed = envelope === undefined ? message as Bytes : preAuthEncoding(PAYLOAD_TYPE, envelope.payload);
  const signature = await sign(key, signed, request);
  const content: Signed = {
    signature,
    signed,
    ...(envelope === undefined ? {} : { envelope }),
    ...(certificate === undefined ? { key: key.spki } : { certificate: certificate.der }),
  };
  return {
    mediaType: MEDIA_TYPES[version],
    verificationMaterial: {
      ...signerOf(request),
      tlogEntries: log === undefined ? [] : [await entryOf(log, content, at)],
      ...(stampedBy === undefined ? {} : {
        timestampVerificationData: {
          rfc3161Timestamps: [
            { signedTimestamp: (await makeTimestamp(stampedBy.timestampAuthority, signature, at)).toBase64() },
          ],
        },
      }),
    },
    ...(envelope === undefined
      ? {
        messageSignature: {
          messageDigest: { algorithm: "SHA2_256", digest: (await sha256(signed)).toBase64() },
          signature: signature.toBase64(),
        },
      }
      : {
        dsseEnvelope: {
          payload: envelope.payload.toBase64(),
          payloadType: PAYLOAD_TYPE,
          signatures: [{ sig: signature.toBase64() }],
        },
      }),
  };
}

function signerOf({ version, certificate, chain = [] }: BundleRequest) {
  const raw = (issued: Issued) => ({ rawBytes: issued.der.toBase64() });
  if (certificate === undefined) return { publicKey: { hint: "lab" } };
  if (version === "0.3") return { certificate: raw(certificate) };
  return { x509CertificateChain: { certificates: [certificate, ...chain].map(raw) } };
}

/** Rekor 2 promises nothing and knows no time. */
async function entryOf({ kind, log, promised, proven }: NonNullable<BundleRequest["log"]>, content: Signed, at: Date) {
  const body = await entryBody(kind, content), [name, version] = kind.split(" ");
  const integratedTime = at.getTime() / 1000, logIndex = promised ? 8_000_000 : 11;
  const path = proven ? await proof(log, body, 11, 13) : undefined;
  return {
    logIndex: String(logIndex),
    logId: { keyId: log.id.toBase64() },
    kindVersion: { kind: name, version },
    ...(promised
      ? {
        integratedTime: String(integratedTime),
        inclusionPromise: { signedEntryTimestamp: (await promise(log, body, integratedTime, logIndex)).toBase64() },
      }
      : {}),
    ...(path === undefined ? {} : {
      inclusionProof: {
        logIndex: String(path.logIndex),
        rootHash: path.rootHash.toBase64(),
        treeSize: String(path.treeSize),
        hashes: path.hashes.map((hash) => hash.toBase64()),
        checkpoint: { envelope: path.checkpoint },
      },
    }),
    canonicalizedBody: body.toBase64(),
  };
}
