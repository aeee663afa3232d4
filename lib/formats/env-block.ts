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
    if (text.charAt(at) === "#") {
      const newline = text.indexOf("\n", at);
      if (newline < 0) break;
      at = newline + 1;
      continue;
    }
    let line = "", end = at;
    for (; end < text.length && text.charAt(end) !== "\n"; end++) {
      if (text.charAt(end) === "\\" && end + 1 < text.length) end++;
      line += text.charAt(end);
    }
    const equals = line.indexOf("=");
    // GRUB stops without a word at a line that is no assignment, or has no end.
    if (equals <= 0 || end >= text.length) break;
    variables.set(line.slice(0, equals), line.slice(equals + 1));
    at = end + 1;
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
