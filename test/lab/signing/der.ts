/** DER as the lab's signers write it. */
import { type Bytes, concatBytes } from "../../../lib/base/bytes.ts";
import { encodeDer, TAG } from "../../../lib/formats/der.ts";

export function sequence(...parts: Uint8Array[]): Bytes {
  return encodeDer(TAG.sequence, ...parts);
}

export function set(...parts: Uint8Array[]): Bytes {
  return encodeDer(TAG.set, ...parts);
}

/** A context-specific tag around others. */
export function tagged(number: number, ...parts: Uint8Array[]): Bytes {
  return encodeDer(0xa0 | number, ...parts);
}

export function integer(value: number | Uint8Array): Bytes {
  let bytes: Uint8Array = value instanceof Uint8Array ? value : Uint8Array.fromHex(evenHex(value));
  while (bytes.length > 1 && bytes[0] === 0) bytes = bytes.subarray(1);
  return encodeDer(TAG.integer, (bytes[0] ?? 0) >= 0x80 ? concatBytes(new Uint8Array(1), bytes) : bytes);
}

function evenHex(value: number): string {
  const hex = value.toString(16);
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}

export function oid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((value) => {
    const digits = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) {
      digits.unshift(128 | (left % 128));
    }
    return digits;
  });
  return encodeDer(TAG.oid, new Uint8Array(bytes));
}

export function octets(...content: Uint8Array[]): Bytes {
  return encodeDer(TAG.octetString, ...content);
}

export function bits(content: Uint8Array, unused = 0): Bytes {
  return encodeDer(TAG.bitString, new Uint8Array([unused]), content);
}

export function text(value: string, tag: number = TAG.utf8String): Bytes {
  return encodeDer(tag, new TextEncoder().encode(value));
}

export const TRUE = encodeDer(TAG.boolean, new Uint8Array([0xff]));
export const NULL = encodeDer(TAG.null);

/** GeneralizedTime; UTCTime where X.509 wants it: before 2050. */
export function time(date: Date, generalized = date.getUTCFullYear() >= 2050): Bytes {
  const digits = date.toISOString().replace(/\.\d+/, "").replace(/[-:T]/g, "");
  return generalized ? text(digits, TAG.generalizedTime) : text(digits.slice(2), TAG.utcTime);
}
