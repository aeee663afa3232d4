/** PEM (RFC 7468): blocks of Base64 with a label. */
import type { Bytes } from "../base/bytes.ts";
import { displayText } from "../base/byte-string.ts";
import { FormatError } from "./format-error.ts";

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n([A-Za-z0-9+/=\r\n\t ]*?)-----END \1-----/g;

/** Certificates and keys have some hundreds to some thousands of bytes, chains some of those. Characters. */
const MAX_TEXT = 256 * 1024;

/**
 * The blocks of a text, in their order; text around them is a comment, as OpenSSL and Go read it.
 * Throws `FormatError` where there is none, more than `most`, or one with another label.
 */
export function pemBlocks(text: string, label: string, most: number): Bytes[] {
  if (text.length > MAX_TEXT) throw new FormatError(`it has ${text.length} characters; at most ${MAX_TEXT} are read`);
  const blocks: Bytes[] = [];
  for (const [, found = "", body = ""] of text.matchAll(BLOCK)) {
    if (found !== label) throw new FormatError(`it holds ${withArticle(found)}, not ${withArticle(label)}`);
    if (blocks.length === most) throw new FormatError(`it holds more than ${most} blocks of ${label}`);
    blocks.push(decoded(body));
  }
  // A block cut short, or in another way broken, must not vanish among good ones.
  if (blocks.length !== (text.match(/-----BEGIN/g) ?? []).length) throw new FormatError("a PEM block in it is broken");
  if (blocks.length === 0) throw new FormatError(`it holds no PEM block "${label}"`);
  return blocks;
}

/** Its lines may end anywhere, and what counts is what they decode to. */
function decoded(body: string): Bytes {
  try {
    return Uint8Array.fromBase64(body);
  } catch (cause) {
    throw new FormatError("a PEM block in it is no Base64", { cause });
  }
}

function withArticle(label: string): string {
  return `${/^(?:[AEIO]|RSA)/.test(label) ? "an" : "a"} ${displayText(label, 60)}`;
}
