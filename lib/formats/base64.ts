/** Base64 (RFC 4648), read so that equal bytes have one form only: nobody can change a signed document's text unseen. */
import type { Bytes } from "../base/bytes.ts";
import { FormatError } from "./format-error.ts";

/** Section 4 of the RFC. Throws `FormatError` for other alphabets, white space, missing padding, and bits set that stand for nothing. */
export function decodeBase64(text: string): Bytes {
  // The runtime's own decoder skips white space, whatever it is told.
  if (/\s/.test(text)) throw new FormatError("it is no Base64: white space is in it");
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch (cause) {
    throw new FormatError("it is no Base64", { cause });
  }
}

/** The alphabet for URLs (section 5), without padding: what JOSE writes. Throws `FormatError` as above. */
export function decodeBase64Url(text: string): Bytes {
  if (/[\s=]/.test(text)) throw new FormatError("it is no Base64url: white space or padding is in it");
  try {
    const padding = "=".repeat((4 - text.length % 4) % 4);
    return Uint8Array.fromBase64(text + padding, { alphabet: "base64url", lastChunkHandling: "strict" });
  } catch (cause) {
    throw new FormatError("it is no Base64url", { cause });
  }
}
