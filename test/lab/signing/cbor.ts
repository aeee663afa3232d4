/** CBOR as the lab's signers write it (RFC 8949, 4.2): of their own, so that they share no reading of it with the program. */
import { type Bytes, concatBytes } from "../../../lib/base/bytes.ts";
import { bigEndian } from "./certificates.ts";

export interface TaggedValue {
  tag: number;
  value: CborValue;
}
export type CborValue = number | string | Uint8Array | CborValue[] | Map<string | number, CborValue> | TaggedValue;

export function cbor(value: CborValue): Bytes {
  if (typeof value === "number") return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    return concatBytes(head(3, bytes.length), bytes);
  }
  if (value instanceof Uint8Array) return concatBytes(head(2, value.length), value);
  if (Array.isArray(value)) return concatBytes(head(4, value.length), ...value.map(cbor));
  if (!(value instanceof Map)) return concatBytes(head(6, value.tag), cbor(value.value));
  return concatBytes(head(5, value.size), ...[...value].flatMap(([key, item]) => [cbor(key), cbor(item)]));
}

function head(major: number, value: number): Bytes {
  const first = major << 5;
  if (value < 24) return new Uint8Array([first | value]);
  const [more, size] = value < 0x100 ? [24, 1] : value < 0x10000 ? [25, 2] : value < 2 ** 32 ? [26, 4] : [27, 8];
  return concatBytes(new Uint8Array([first | more]), bigEndian(value, size));
}
