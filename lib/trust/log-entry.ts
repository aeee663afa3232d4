/** Rekor's transparency log: that an entry stands in it, by its operator's promise or by a proof, without asking it. */
import { type Bytes, concatBytes, sameBytes } from "../base/bytes.ts";
import { decodeBase64 } from "../formats/base64.ts";
import { FormatError } from "../formats/format-error.ts";
import { digestOf, verifySignature } from "./keys.ts";
import { keysOf, type LogKey } from "./log-keys.ts";
import { reading, refuse } from "./verdict.ts";

/** An attestation's entry may repeat it; those that sign images have some 4 KiB. Bytes. */
export const MAX_ENTRY = 1024 * 1024;
/** A tree of 2^64 entries has paths no longer than this. */
const MAX_HASHES = 64;
/** The log's own signature, and those of its witnesses. */
const MAX_NOTE_SIGNATURES = 32;

export interface LogEntry {
  /** Across all shards of the log. */
  index: number;
  /** Which log it is in. */
  logId: Bytes;
  /** Seconds since 1970; proven only by the promise. Undefined in entries of Rekor's second version. */
  integratedTime: number | undefined;
  body: Bytes;
  /** The signed entry timestamp. */
  promise: Bytes | undefined;
  proof: InclusionProof | undefined;
}

export interface InclusionProof {
  index: number;
  treeSize: number;
  rootHash: Bytes;
  hashes: Bytes[];
  /** A signed note (C2SP: signed-note, tlog-checkpoint). */
  checkpoint: string;
}

/** The time at which the log promised to list the entry. */
export async function verifyPromise(entry: LogEntry, logs: readonly LogKey[]): Promise<Date> {
  const { promise, integratedTime, index, logId, body } = entry;
  if (promise === undefined || integratedTime === undefined) {
    return refuse("the log entry carries no promise of the log");
  }
  const time = new Date(integratedTime * 1000);
  // RFC 8785 (JCS): names in order, no spaces.
  const text =
    `{"body":"${body.toBase64()}","integratedTime":${integratedTime},"logID":"${logId.toHex()}","logIndex":${index}}`;
  const signed = new TextEncoder().encode(text);
  const keys = keysOf(logs, logId, [time]);
  for (const { key } of keys) {
    if (await verifySignature(key, signed, promise)) return time;
  }
  return refuse(keys.length === 0 ? unknownLog(entry) : "the log's promise to list the entry is not signed by the log");
}

/** @param times that are proven otherwise: the log's key must have been valid then. */
export async function verifyInclusion(entry: LogEntry, logs: readonly LogKey[], times: readonly Date[]): Promise<void> {
  const { proof } = entry;
  if (proof === undefined) return refuse("the log entry carries no proof that it stands in the log");
  const keys = keysOf(logs, entry.logId, times);
  if (keys.length === 0) refuse(unknownLog(entry));
  const { size, root } = await verifyCheckpoint(proof.checkpoint, keys);
  if (size !== proof.treeSize || !sameBytes(root, proof.rootHash)) {
    refuse("the log's checkpoint is of another tree than the proof", `${size} entries`, `${proof.treeSize} entries`);
  }
  if (!sameBytes(await rootOf(entry.body, proof), root)) refuse("the proof does not lead to the log's checkpoint");
}

function unknownLog({ logId }: LogEntry): string {
  return `the log ${logId.toHex()} is not among those trusted for that time`;
}

/** The root that the path leads to (RFC 9162, 2.1.3.2). */
async function rootOf(body: Bytes, { index, treeSize, hashes }: InclusionProof): Promise<Bytes> {
  if (index >= treeSize) refuse("the proof is for an entry behind the end of the log");
  let node = BigInt(index), last = BigInt(treeSize) - 1n;
  let hash = await digestOf("SHA-256", concatBytes(new Uint8Array([0]), body));
  for (const sibling of hashes) {
    if (last === 0n) refuse("the proof has too many hashes");
    if ((node & 1n) === 1n || node === last) {
      hash = await nodeHash(sibling, hash);
      while ((node & 1n) === 0n && node !== 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else hash = await nodeHash(hash, sibling);
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) refuse("the proof has too few hashes");
  return hash;
}

async function nodeHash(left: Bytes, right: Bytes): Promise<Bytes> {
  return await digestOf("SHA-256", concatBytes(new Uint8Array([1]), left, right));
}

export function checkedHashes(hashes: readonly Bytes[]): Bytes[] {
  if (hashes.length > MAX_HASHES) throw new FormatError(`its proof has more than ${MAX_HASHES} hashes`);
  if (hashes.some(({ length }) => length !== 32)) throw new FormatError("a hash of its proof has not 32 bytes");
  return [...hashes];
}

/** Refuses a checkpoint that none of the keys signed under its origin's name. Signatures of others, its witnesses, say nothing. */
async function verifyCheckpoint(note: string, keys: readonly LogKey[]): Promise<{ size: number; root: Bytes }> {
  const { text, origin, size, root, signatures } = reading("the log's checkpoint", () => parseCheckpoint(note));
  const signed = new TextEncoder().encode(text);
  for (const { name, hint, signature } of signatures) {
    for (const log of keys) {
      if (!sameBytes(hint, log.id.subarray(0, 4)) || !isNameOf(name, origin)) continue;
      if (log.origin !== undefined && name !== log.origin) continue;
      if (await verifySignature(log.key, signed, signature)) return { size, root };
    }
  }
  return refuse("the log's checkpoint is not signed by the log");
}

/** Rekor's first version adds the number of its tree to the origin: `rekor.sigstore.dev - 2605736670972794746`. */
function isNameOf(name: string, origin: string): boolean {
  return origin === name || origin.replace(/ - \d+$/, "") === name;
}

interface Checkpoint {
  /** What is signed. */
  text: string;
  origin: string;
  size: number;
  root: Bytes;
  signatures: { name: string; hint: Bytes; signature: Bytes }[];
}

function parseCheckpoint(note: string): Checkpoint {
  const end = note.indexOf("\n\n");
  if (end < 0) throw new FormatError("it has no signatures");
  const text = note.slice(0, end + 1), [origin = "", size = "", root = ""] = text.split("\n");
  if (origin === "" || !/^(?:0|[1-9]\d{0,15})$/.test(size)) throw new FormatError("its origin or its size is missing");
  const hash = decodeBase64(root);
  if (hash.length !== 32) throw new FormatError("its root hash is missing");
  const lines = note.slice(end + 2).split("\n");
  if (lines.pop() !== "" || lines.length > MAX_NOTE_SIGNATURES) throw new FormatError("its signatures are malformed");
  const signatures = lines.map((line) => {
    const [, name, encoded] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
    if (name === undefined || encoded === undefined) throw new FormatError("its signatures are malformed");
    const bytes = decodeBase64(encoded);
    return { name, hint: bytes.subarray(0, 4), signature: bytes.subarray(4) };
  });
  return { text, origin, size: Number(size), root: hash, signatures };
}
