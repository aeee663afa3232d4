/** Base64 (RFC 4648, section 4), read so that equal bytes have one form only: nobody can change a signed document's text unseen. */
import type { Bytes } from "../base/bytes.ts";
import { FormatError } from "./format-error.ts";

/** Throws `FormatError` for other alphabets, white space, missing padding, and bits set that stand for nothing. */
export function decodeBase64(text: string): Bytes {
  // The runtime's own decoder skips white space, whatever it is told.
  if (/\s/.test(text)) throw new FormatError("it is no Base64: white space is in it");
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch (cause) {
    throw new FormatError("it is no Base64", { cause });
  }
}
