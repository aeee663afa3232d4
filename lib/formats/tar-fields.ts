/** The fields of tar headers and pax records: numbers, times and texts as archives write them, and the error for what is neither. */
import { type ByteString, byteString, displayName } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";

export const BLOCK = 512;

export function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}

export function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

export function untilNul(bytes: Uint8Array, start: number, end: number): ByteString {
  const nul = bytes.indexOf(0, start);
  return byteString(bytes, start, nul < 0 || nul > end ? end : nul);
}

/** The sum of all bytes with the field itself as spaces; some old writers summed signed bytes. */
export function checkSum(block: Uint8Array): void {
  let unsigned = 256, signed = 256;
  for (let i = 0; i < BLOCK; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const told = number(block, 148, 8, "checksum");
  if (told !== unsigned && told !== signed) {
    throw broken("a header's checksum is wrong: this is no tar archive, or a damaged one");
  }
}

/**
 * Octal text among NULs and spaces, or where the first bit is set a binary number, big-endian (GNU). NULs in front are skipped,
 * as GNU tar and Go do: whoever takes such a field for 0 reads a file's content as headers.
 */
export function number(block: Uint8Array, at: number, length: number, what: string): number {
  const first = block[at] ?? 0;
  if (first & 0x80) {
    // Bit 6 is the sign; two's complement.
    const negative = (first & 0x40) !== 0;
    let value = BigInt(negative ? (first & 0x7f) - 0x80 : first & 0x7f);
    for (let i = 1; i < length; i++) value = value * 256n + BigInt(block[at + i] ?? 0);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw broken(`a header's ${what} is out of range`);
    }
    return Number(value);
  }
  let value = 0, digits = 0, ended = false;
  for (let i = 0; i < length; i++) {
    const byte = block[at + i] ?? 0;
    if ((byte === 0x20 || byte === 0) && digits === 0) continue;
    if (byte === 0) break;
    if (byte === 0x20) {
      ended = true;
      continue;
    }
    if (byte < 0x30 || byte > 0x37 || ended) throw broken(`a header's ${what} is no octal number`);
    value = value * 8 + byte - 0x30;
    digits++;
  }
  return value;
}

/**
 * A GNU header has two times where POSIX has a prefix. Go before 1.8 wrote the prefix under GNU's magic where a number was large, and
 * images of that time still hold such headers (moby#34092): what is no time there, and plain ASCII, is a prefix, as for Go's reader.
 */
export function hasStrayPrefix(block: Uint8Array): boolean {
  if (byteString(block, 257, 265) !== "ustar  \0" || (isTime(block, 345) && isTime(block, 357))) return false;
  return /^[\x01-\x7f]+$/.test(untilNul(block, 345, 500));
}

function isTime(block: Uint8Array, at: number): boolean {
  return ((block[at] ?? 0) & 0x80) !== 0 || /^[\0 ]*[0-7]*[\0 ]*$/.test(byteString(block, at, at + 12));
}

export function decimal(value: Uint8Array, what: string): number {
  return decimalText(byteString(value), what);
}

export function decimalText(text: string, what: string): number {
  const value = /^[0-9]{1,64}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw broken(`${what} is ${quote(text.slice(0, 40))}, which is no number`);
  return value;
}

/** Seconds with an optional fraction, possibly negative: -1.25 is 0.75 s after second -2. */
export function paxTime(value: Uint8Array | undefined): { seconds: number; nanoseconds: number } | undefined {
  if (value === undefined) return undefined;
  const text = byteString(value), match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) throw broken(`a time is ${quote(text.slice(0, 40))}, which is no number`);
  const whole = Number(match[2]), fraction = Number((match[3] ?? "").padEnd(9, "0").slice(0, 9));
  if (match[1] === "") return { seconds: whole, nanoseconds: fraction };
  return fraction === 0
    ? { seconds: -whole, nanoseconds: 0 }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - fraction };
}

/** Both are told, and not alike. */
export function differ(one: ByteString | undefined, other: ByteString | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other;
}

export function urlDecode(text: ByteString): ByteString {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

export function base64(value: Uint8Array, name: ByteString): Uint8Array {
  try {
    // libarchive leaves the final padding away.
    return Uint8Array.from(atob(byteString(value).replace(/=+$/, "")), (c) => c.charCodeAt(0));
  } catch (cause) {
    throw broken(`the extended attribute ${quote(name)} is not valid base64`, cause);
  }
}

export function quote(name: ByteString): string {
  return JSON.stringify(displayName(name));
}

export function broken(what: string, cause?: unknown): CosError {
  return new CosError("BROKEN_LAYER", `Cannot read the layer as a tar archive: ${what}.`, {
    hint: "The image was built or stored wrongly: build it again, or ask whoever publishes it.",
    cause,
  });
}
