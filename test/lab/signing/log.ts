/** Rekor as far as signatures carry its words: entries, promises, proofs. Version 1 and 2. */
import { type Bytes, concatBytes } from "../../../lib/base/bytes.ts";
import { bigEndian } from "./certificates.ts";
import { jsonBytes, pem, sha256, sign, type SigningKey } from "./keys.ts";

export interface LabLog {
  key: SigningKey;
  /** In checkpoints. */
  origin: string;
  id: Bytes;
}

export async function makeLog(key: SigningKey, origin: string, version: 1 | 2): Promise<LabLog> {
  // Version 2 names its keys as signed notes do: the origin is part of it.
  const bytes = version === 1 ? key.spki : concatBytes(
    new TextEncoder().encode(`${origin}\n`),
    new Uint8Array([key.kind === "ed25519" ? 1 : 2]),
    key.spki.slice(-32),
  );
  return { key, origin, id: await sha256(bytes) };
}

/** What an entry is about. */
export interface Signed {
  signature: Bytes;
  /** The bytes that the signature is over. */
  signed: Bytes;
  envelope?: { payload: Bytes; payloadType: string };
  /** One of both. */
  certificate?: Bytes;
  key?: Bytes;
}

export type EntryKind = "hashedrekord 0.0.1" | "hashedrekord 0.0.2" | "dsse 0.0.1" | "dsse 0.0.2" | "intoto 0.0.2";

/** The entry's canonical JSON: names in order, no spaces. */
export async function entryBody(kind: EntryKind, content: Signed): Promise<Bytes> {
  const { signature, signed, envelope, certificate, key } = content;
  const verifier = certificate === undefined ? pem("PUBLIC KEY", key as Bytes) : pem("CERTIFICATE", certificate);
  const verifierPem = new TextEncoder().encode(verifier).toBase64(), base64 = signature.toBase64();
  const verifier2 = {
    keyDetails: "PKIX_ECDSA_P256_SHA_256",
    ...(certificate === undefined
      ? { publicKey: { rawBytes: (key as Bytes).toBase64() } }
      : { x509Certificate: { rawBytes: certificate.toBase64() } }),
  };
  const payload = envelope?.payload ?? new Uint8Array();
  const hexHash = async (bytes: Uint8Array) => ({ algorithm: "sha256", value: (await sha256(bytes)).toHex() });
  const hash2 = async (bytes: Uint8Array) => ({ algorithm: "SHA2_256", digest: (await sha256(bytes)).toBase64() });
  const specs: Record<EntryKind, () => Promise<unknown>> = {
    "hashedrekord 0.0.1": async () => ({
      data: { hash: await hexHash(signed) },
      signature: { content: base64, publicKey: { content: verifierPem } },
    }),
    "hashedrekord 0.0.2": async () => ({
      hashedRekordV002: { data: await hash2(signed), signature: { content: base64, verifier: verifier2 } },
    }),
    "dsse 0.0.1": async () => ({
      envelopeHash: await hexHash(signed),
      payloadHash: await hexHash(payload),
      signatures: [{ signature: base64, verifier: verifierPem }],
    }),
    "dsse 0.0.2": async () => ({
      dsseV002: { payloadHash: await hash2(payload), signatures: [{ content: base64, verifier: verifier2 }] },
    }),
    "intoto 0.0.2": async () => ({
      content: {
        envelope: {
          payloadType: envelope?.payloadType,
          signatures: [{ publicKey: verifierPem, sig: new TextEncoder().encode(base64).toBase64() }],
        },
        hash: await hexHash(signed),
        payloadHash: await hexHash(payload),
      },
    }),
  };
  const [name, apiVersion] = kind.split(" ");
  return jsonBytes({ apiVersion, kind: name, spec: await specs[kind]() });
}

/** The signed entry timestamp. */
export async function promise(log: LabLog, body: Bytes, integratedTime: number, logIndex: number): Promise<Bytes> {
  const words = { body: body.toBase64(), integratedTime, logID: log.id.toHex(), logIndex };
  return await sign(log.key, jsonBytes(words));
}

export interface Proof {
  logIndex: number;
  treeSize: number;
  rootHash: Bytes;
  hashes: Bytes[];
  checkpoint: string;
}

/** A log of so many entries, with this one at the place; others hold anything. */
export async function proof(log: LabLog, body: Bytes, logIndex: number, treeSize: number): Promise<Proof> {
  const leaves = await Promise.all(
    Array.from({ length: treeSize }, (_, i) => leafHash(i === logIndex ? body : bigEndian(i, 4))),
  );
  const rootHash = await treeHash(leaves);
  const text = `${log.origin}\n${treeSize}\n${rootHash.toBase64()}\n`;
  const signature = await sign(log.key, new TextEncoder().encode(text));
  const checkpoint = `${text}\n\u2014 ${log.origin.split(" ")[0]} ${
    concatBytes(log.id.subarray(0, 4), signature).toBase64()
  }\n`;
  return { logIndex, treeSize, rootHash, hashes: await path(leaves, logIndex), checkpoint };
}

function leafHash(body: Uint8Array): Promise<Bytes> {
  return sha256(concatBytes(new Uint8Array([0]), body));
}

/** MTH of RFC 6962, 2.1. */
async function treeHash(leaves: readonly Bytes[]): Promise<Bytes> {
  if (leaves.length === 1) return leaves[0] as Bytes;
  const half = splitOf(leaves.length);
  return await sha256(
    concatBytes(new Uint8Array([1]), await treeHash(leaves.slice(0, half)), await treeHash(leaves.slice(half))),
  );
}

/** PATH of RFC 6962, 2.1.1. */
async function path(leaves: readonly Bytes[], index: number): Promise<Bytes[]> {
  if (leaves.length === 1) return [];
  const half = splitOf(leaves.length), left = leaves.slice(0, half), right = leaves.slice(half);
  return index < half
    ? [...await path(left, index), await treeHash(right)]
    : [...await path(right, index - half), await treeHash(left)];
}

/** The largest power of two below. */
function splitOf(count: number): number {
  return 2 ** Math.ceil(Math.log2(count) - 1);
}
