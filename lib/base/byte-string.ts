/**
 * Names in a tree are bytes: Linux forbids only `/` and NUL in them, and old archives hold names that are not UTF-8.
 * A `ByteString` is a JavaScript string of which each code unit (0–255) is one byte of the name. So it compares, splits
 * and serves as a key like any string, and reaches the kernel unchanged. ASCII literals are byte strings as they are.
 */
export type ByteString = string;

const utf8 = new TextEncoder();
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes from `start` up to `end`, as they are. */
export function byteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  // Names are short; a spread call is the fastest way, and limited only above some ten thousand arguments.
  if (end - start <= 4096) return String.fromCharCode.apply(null, bytes.subarray(start, end) as unknown as number[]);
  let text = "";
  for (let at = start; at < end; at += 4096) text += byteString(bytes, at, Math.min(at + 4096, end));
  return text;
}

/** What the operator typed, or a JSON document holds, as the bytes of its UTF-8 form. */
export function byteStringOf(text: string): ByteString {
  return /^[\x00-\x7f]*$/.test(text) ? text : byteString(utf8.encode(text));
}

/** Writes the bytes of `text` to `target` at `offset`; returns how many. Throws `RangeError` where a code unit is no byte. */
export function writeBytes(text: ByteString, target: Uint8Array, offset = 0): number {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 255) throw new RangeError(`Cannot use ${JSON.stringify(text)} as a name: it is not a byte string`);
    target[offset + i] = unit;
  }
  return length;
}

export function bytesOf(text: ByteString): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  writeBytes(text, bytes);
  return bytes;
}

/**
 * The name as people read it: UTF-8 where it is that, else with escapes. Control characters are escaped too, so that a
 * file name in a hostile layer cannot write to the operator's terminal.
 */
export function displayName(name: ByteString): string {
  let text: string;
  try {
    text = utf8Strict.decode(bytesOf(name));
  } catch {
    text = name.replace(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
  }
  return escaped(text);
}

/**
 * Words of a stranger (a registry, a manifest) as part of a message: on one line, without what steers a terminal or turns the
 * text around, and cut behind `most` characters.
 */
export function displayText(text: string, most = 200): string {
  // A pair that stands for one character is not cut in two.
  const cut = text.length > most ? `${text.slice(0, most).replace(/[\ud800-\udbff]$/, "")}…` : text;
  return escaped(cut);
}

function escaped(text: string): string {
  return text.replace(
    /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => c === "\n" ? "\\n" : c === "\t" ? "\\t" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
