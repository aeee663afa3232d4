/** That a certificate stands in a public log of certificates: the promise that it carries (RFC 6962, 3.2 and 3.3). */
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { children, encodeDer, oidOf, readDer, sequence, TAG } from "../formats/der.ts";
import { FormatError } from "../formats/format-error.ts";
import type { Certificate } from "../formats/x509.ts";
import { digestOf, verifySignature } from "./keys.ts";
import { keysOf, type LogKey } from "./log-keys.ts";
import { reading, refuse } from "./verdict.ts";

const SCT_LIST = "1.3.6.1.4.1.11129.2.4.2";

/** Promises in one certificate; those of the web have two or three. */
const MAX_PROMISES = 10;

interface Promised {
  version: number;
  log: Bytes;
  /** Milliseconds since 1970, as they are signed. */
  timestamp: Bytes;
  extensions: Bytes;
  signature: Bytes;
}

/** Refuses a certificate with no promise of one of the logs; promises of unknown ones say nothing. */
export async function verifyPromises(leaf: Certificate, issuer: Certificate, logs: readonly LogKey[]): Promise<void> {
  const extension = leaf.extensions.get(SCT_LIST);
  if (extension === undefined) return refuse("the certificate carries no promise of a certificate log");
  const promises = reading(
    "the promise of a certificate log",
    () => parseList(readDer(extension.value, TAG.octetString).content),
  );
  const precertificate = withoutPromises(leaf), issuerHash = await digestOf("SHA-256", issuer.spki);
  for (const { version, log, timestamp, extensions, signature } of promises) {
    const time = new Date(Number(new DataView(timestamp.buffer, timestamp.byteOffset).getBigUint64(0)));
    const signed = concatBytes(
      new Uint8Array([version, 0]), // certificate_timestamp
      timestamp,
      new Uint8Array([0, 1]), // precert_entry
      issuerHash,
      number(precertificate.length, 3),
      precertificate,
      number(extensions.length, 2),
      extensions,
    );
    for (const { key } of keysOf(logs, log, [time])) {
      if (await verifySignature(key, signed, signature, { hashes: ["SHA-256"] })) return;
    }
  }
  refuse("none of the trusted certificate logs promised to list the certificate");
}

/** What the log saw: the certificate without the list of promises. */
function withoutPromises({ signed }: Certificate): Bytes {
  const parts = sequence(readDer(signed)).map((part) => {
    if (part.tag !== 0xa3) return part.bytes;
    const kept = sequence(children(part)[0]).filter((extension) => oidOf(children(extension)[0]) !== SCT_LIST);
    return encodeDer(0xa3, encodeDer(TAG.sequence, ...kept.map(({ bytes }) => bytes)));
  });
  return encodeDer(TAG.sequence, ...parts);
}

function parseList(bytes: Bytes): Promised[] {
  const [list, rest] = field(bytes, 2), promises: Promised[] = [];
  if (rest.length !== 0) throw new FormatError("bytes follow it");
  for (let left = list; left.length > 0;) {
    const [one, after] = field(left, 2);
    if (promises.push(parsePromise(one)) > MAX_PROMISES) throw new FormatError("there are too many");
    left = after;
  }
  return promises;
}

function parsePromise(bytes: Bytes): Promised {
  const version = bytes[0], log = bytes.subarray(1, 33), timestamp = bytes.subarray(33, 41);
  if (version !== 0 || timestamp.length !== 8) throw new FormatError("it is of another version");
  const [extensions, signed] = field(bytes.subarray(41), 2);
  // 4 is SHA-256; 3 is ECDSA and 1 RSA (RFC 5246, 7.4.1.4.1). The key decides between them.
  if (signed[0] !== 4 || (signed[1] !== 3 && signed[1] !== 1)) throw new FormatError("its algorithm is not supported");
  const [signature, rest] = field(signed.subarray(2), 2);
  if (rest.length !== 0) throw new FormatError("bytes follow it");
  return { version, log, timestamp, extensions, signature };
}

/** Bytes behind their length, and what follows them. */
function field(bytes: Bytes, lengthSize: number): [field: Bytes, rest: Bytes] {
  const length = bytes.subarray(0, lengthSize).reduce((sum, byte) => sum * 256 + byte, 0), end = lengthSize + length;
  if (bytes.length < end) throw new FormatError("it is cut short");
  return [bytes.subarray(lengthSize, end), bytes.subarray(end)];
}

function number(value: number, size: number): Bytes {
  return Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i)) % 256);
}
