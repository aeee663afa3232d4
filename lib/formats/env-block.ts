/**
 * GRUB's environment block (GNU GRUB manual, "Environment block"; grub-core/lib/envblk.c): 1024 bytes, a first line, then
 * `name=value` lines, then `#` to the end.
 */
import { bytesOf, type ByteString, byteString } from "../base/byte-string.ts";

export const ENV_BLOCK_SIZE = 1024;
const SIGNATURE = "# GRUB Environment Block\n";

/** The variables; undefined where GRUB would not read it as a block either. The last of equal names wins, as in GRUB. */
export function parseEnvBlock(bytes: Uint8Array): Map<ByteString, ByteString> | undefined {
  const text = byteString(bytes);
  if (!text.startsWith(SIGNATURE)) return undefined;
  const variables = new Map<ByteString, ByteString>();
  let at = SIGNATURE.length;
  while (at < text.length) {
    let name: ByteString | undefined;
    if (text.charAt(at) !== "#") {
      // A name ends at its "=" and nowhere else, not at a newline either.
      const equals = text.indexOf("=", at);
      if (equals < 0) break;
      name = text.slice(at, equals);
      at = equals + 1;
    }
    let value = "";
    for (; at < text.length && text.charAt(at) !== "\n"; at++) {
      if (text.charAt(at) === "\\") at++;
      value += text.charAt(at);
    }
    // GRUB stops without a word at a line that has no end.
    if (at >= text.length) break;
    if (name !== undefined) variables.set(name, value);
    at++;
  }
  return variables;
}

/** A whole block; undefined where the variables do not fit. Empty values are left out: GRUB treats both alike. */
export function printEnvBlock(variables: ReadonlyMap<ByteString, ByteString>): Uint8Array | undefined {
  let text = SIGNATURE;
  for (const [name, value] of variables) {
    if (value !== "") text += `${name}=${value.replace(/[\\\n]/g, (c) => `\\${c}`)}\n`;
  }
  return text.length > ENV_BLOCK_SIZE ? undefined : bytesOf(text.padEnd(ENV_BLOCK_SIZE, "#"));
}
