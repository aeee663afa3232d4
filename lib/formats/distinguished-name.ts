/**
 * Distinguished names (X.501): as certificates hold them, and as people write them (RFC 4514, with spaces behind the commas
 * allowed, and the attributes in any order).
 */
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { displayText } from "../base/byte-string.ts";
import { children, type Der, expectTag, oidOf, readDer, sequence, TAG } from "./der.ts";
import { FormatError } from "./format-error.ts";

export interface NameAttribute {
  /** Its short name in capitals, `CN`; its object identifier where it has none here. */
  type: string;
  value: string;
}

/** RFC 4514, section 3, and what Go and OpenSSL write besides. */
const TYPES: Record<string, string> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "SERIALNUMBER",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "STREET",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.17": "POSTALCODE",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
};
const KNOWN = new Set(Object.values(TYPES));

const PRINTABLE = 0x13, IA5 = 0x16;
/** A name in the operator's own file. Characters. */
const MAX_TEXT = 4096;

/** Of a Name in a certificate, in its order. Values that are no text of today have RFC 4514's form `#HEX`. Throws `FormatError`. */
export function nameAttributes(name: Bytes): NameAttribute[] {
  return sequence(readDer(name)).flatMap((part) =>
    children(expectTag(part, TAG.set)).map((attribute) => {
      const [type, value, more] = sequence(attribute), oid = oidOf(type);
      if (value === undefined || more !== undefined) throw new FormatError("a name in the certificate is malformed");
      return { type: TYPES[oid] ?? oid, value: textOf(value) };
    })
  );
}

function textOf(value: Der): string {
  const { tag, content, bytes } = value;
  try {
    if (tag === TAG.utf8String) return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return `#${bytes.toHex()}`;
  }
  const plain = (tag === PRINTABLE || tag === IA5) && content.every((byte) => byte < 0x80);
  return plain ? new TextDecoder().decode(content) : `#${bytes.toHex()}`;
}

/** As `parseDistinguishedName` reads it. */
export function formatDistinguishedName(attributes: readonly NameAttribute[]): string {
  const escape = (value: string) => value.replace(/[\\,;+"<>]|^[ #]| $/g, "\\$&").replaceAll("\0", "\\00");
  return attributes.map(({ type, value }) => `${type}=${escape(value)}`).join(", ");
}

/** Throws `FormatError` also for types that have no short name here, a type twice, and several attributes joined with "+". */
export function parseDistinguishedName(text: string): NameAttribute[] {
  const odd = (why: string) => new FormatError(`the name "${displayText(text)}" ${why}`);
  if (text.length > MAX_TEXT) throw odd("is too long");
  const attributes: NameAttribute[] = [];
  for (let rest = text;;) {
    const [whole, name = "", raw = "", end] = /^\s*([A-Za-z0-9.]+)\s*=\s*((?:\\.|[^\\,])*)(,|$)/su.exec(rest) ?? [];
    if (whole === undefined) throw odd("is not of the form TYPE=VALUE, TYPE=VALUE");
    const type = name.toUpperCase() === "S" ? "ST" : name.toUpperCase();
    if (!KNOWN.has(type)) throw odd(`has the unknown type ${name}`);
    if (attributes.some((other) => other.type === type)) throw odd(`has the type ${type} twice`);
    attributes.push({ type, value: unescaped(raw, odd) });
    if (end === "") return attributes;
    rest = rest.slice(whole.length);
  }
}

function unescaped(raw: string, odd: (why: string) => FormatError): string {
  // A space at the end counts where it is escaped.
  const value = raw.replace(/((?:\\.|[^\\])*?)\s*$/su, "$1"), parts: Uint8Array[] = [];
  if (value.startsWith("#")) throw odd("has a value in hexadecimal form, which is not supported");
  for (const [, pair, escaped, plain = ""] of value.matchAll(/\\([0-9A-Fa-f]{2})|\\(.)|(.)/gsu)) {
    if (pair === undefined && escaped === undefined && '+"<>;\0'.includes(plain)) {
      throw odd(`has "${plain}" in a value without a backslash before it`);
    }
    if (escaped !== undefined && !' "#+,;<=>\\'.includes(escaped)) throw odd(`has a backslash before "${escaped}"`);
    parts.push(pair === undefined ? new TextEncoder().encode(escaped ?? plain) : Uint8Array.fromHex(pair));
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(concatBytes(...parts));
    if (text === "") throw odd("has an empty value");
    return text;
  } catch (thrown) {
    if (thrown instanceof FormatError) throw thrown;
    throw odd("has a value that is not UTF-8");
  }
}
