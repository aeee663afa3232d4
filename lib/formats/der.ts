/**
 * DER (X.690), as certificates, keys, signatures and timestamps are written in it: one form for each value, so that what was
 * read is what was signed. Elements are views of the bytes they were read from; nothing is decoded before it is asked for.
 */
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { FormatError } from "./format-error.ts";

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Of one element; certificates and timestamps have some dozens in the widest of theirs. */
const MAX_CHILDREN = 1024;

export interface Der {
  /** Class, form and number in one byte. */
  tag: number;
  /** The whole element. */
  bytes: Bytes;
  /** Without tag and length. */
  content: Bytes;
}

/** Throws `FormatError`, also where something follows the element. */
export function readDer(bytes: Bytes, tag?: number): Der {
  const element = elementAt(bytes, 0);
  if (element.bytes.length !== bytes.length) throw new FormatError("bytes follow the end of a DER element");
  return tag === undefined ? element : expectTag(element, tag);
}

/** The elements that a constructed one consists of. */
export function children(parent: Der): Der[] {
  if ((parent.tag & 0x20) === 0) throw new FormatError("a DER element is not made of others");
  const elements: Der[] = [];
  for (let at = 0; at < parent.content.length;) {
    const element = elementAt(parent.content, at);
    if (elements.push(element) > MAX_CHILDREN) throw new FormatError("a DER element has too many parts");
    at += element.bytes.length;
  }
  return elements;
}

function elementAt(bytes: Bytes, start: number): Der {
  const tag = bytes[start], first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new FormatError("a DER element is cut short");
  if ((tag & 0x1f) === 0x1f) throw new FormatError("a DER element has a tag of many bytes");
  let at = start + 2, length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // 0x80 is BER's indefinite length; four bytes are more than anything here may have.
    if (count === 0 || count > 4) throw new FormatError("a DER element has a length of another form");
    length = 0;
    for (const end = at + count; at < end; at++) length = length * 256 + (bytes[at] ?? 0);
    if (length < 0x80 || length < 256 ** (count - 1)) throw new FormatError("a DER length is not in its shortest form");
  }
  if (at + length > bytes.length) throw new FormatError("a DER element is cut short");
  return { tag, bytes: bytes.subarray(start, at + length), content: bytes.subarray(at, at + length) };
}

export function expectTag(element: Der | undefined, tag: number): Der {
  if (element?.tag === tag) return element;
  const found = element === undefined ? "nothing" : `0x${element.tag.toString(16)}`;
  throw new FormatError(`a DER element of tag 0x${tag.toString(16)} is missing (there is ${found})`);
}

/** The parts of a SEQUENCE. */
export function sequence(element: Der | undefined): Der[] {
  return children(expectTag(element, TAG.sequence));
}

/** In the form `1.2.840.10045.2.1`. */
export function oidOf(element: Der | undefined): string {
  const { content } = expectTag(element, TAG.oid);
  const parts: number[] = [];
  let value = 0;
  content.forEach((byte, i) => {
    const begins = i === 0 || (content[i - 1] ?? 0) < 0x80;
    if (begins && byte === 0x80) throw new FormatError("an object identifier is not in its shortest form");
    value = value * 128 + (byte & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER / 128) throw new FormatError("an object identifier is too long");
    if (byte < 0x80) {
      parts.push(value);
      value = 0;
    }
  });
  const [first] = parts;
  if (first === undefined || (content.at(-1) ?? 0) >= 0x80) throw new FormatError("an object identifier is cut short");
  const arc = Math.min(Math.floor(first / 40), 2);
  return [arc, first - arc * 40, ...parts.slice(1)].join(".");
}

/** An INTEGER's value, big-endian, without the zero that only says "not negative". Throws for negative ones. */
export function unsignedOf(element: Der | undefined, tag: number = TAG.integer): Bytes {
  const { content } = expectTag(element, tag), [first, second] = content;
  if (first === undefined) throw new FormatError("an integer has no bytes");
  if (first >= 0x80) throw new FormatError("an integer is negative");
  if (first !== 0 || second === undefined) return content;
  if (second < 0x80) throw new FormatError("an integer is not in its shortest form");
  return content.subarray(1);
}

/** Of an INTEGER that counts something. */
export function smallNumberOf(element: Der | undefined, tag: number = TAG.integer): number {
  const bytes = unsignedOf(element, tag);
  if (bytes.length > 4) throw new FormatError("an integer is too large");
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}

export function booleanOf(element: Der | undefined): boolean {
  const { content } = expectTag(element, TAG.boolean);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw new FormatError("a boolean is neither");
  return content[0] === 0xff;
}

/** The bytes of a BIT STRING that is made of whole ones. */
export function bitStringOf(element: Der | undefined): Bytes {
  const { content } = expectTag(element, TAG.bitString);
  if (content[0] !== 0) throw new FormatError("a bit string is not made of whole bytes");
  return content.subarray(1);
}

/** Which of the named bits of a BIT STRING is set; bit 0 is the first one. */
export function bitOf(element: Der | undefined, bit: number): boolean {
  const { content } = expectTag(element, TAG.bitString), unused = content[0] ?? 8;
  if (unused > 7 || (content.length === 1 && unused !== 0)) throw new FormatError("a bit string is malformed");
  return ((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0;
}

/** UTCTime or GeneralizedTime, in the forms that RFC 5280 (4.1.2.5) and RFC 3161 (2.4.2) allow; fractions up to milliseconds. */
export function timeOf(element: Der | undefined): Date {
  const long = element?.tag === TAG.generalizedTime;
  const { content } = expectTag(element, long ? TAG.generalizedTime : TAG.utcTime);
  const text = String.fromCharCode(...content.subarray(0, 32));
  const match =
    (long ? /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,8}[1-9]))?Z$/ : /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/)
      .exec(text);
  if (match === null) throw new FormatError("a time is malformed");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const whole = long ? year : year < 50 ? 2000 + year : 1900 + year;
  const millisecond = Math.floor(Number(`0.${match[7] ?? 0}`) * 1000);
  const date = new Date(Date.UTC(2000, month - 1, day, hour, minute, second, millisecond));
  date.setUTCFullYear(whole, month - 1, day);
  // What rolled over was no date: a 31st of April, an hour 25.
  const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute && date.getUTCSeconds() === second;
  if (!same) throw new FormatError("a time is malformed");
  return date;
}

/** An element of the given contents, one behind the other. */
export function encodeDer(tag: number, ...contents: Uint8Array[]): Bytes {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  const size: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) size.unshift(rest % 256);
  const head = length < 0x80 ? [tag, length] : [tag, 0x80 | size.length, ...size];
  return concatBytes(new Uint8Array(head), ...contents);
}
