/**
 * GRUB's environment block (GNU GRUB manual, "Environment block"; grub-core/lib/envblk.c): 1024 bytes by habit, a first line,
 * then `name=value` lines, then `#` to the end. Reading is as lax as GRUB's: only the first line counts, comments are skipped,
 * and what comes behind a line that is none is not there.
 */
import { bytesOf, type ByteString, byteString } from "../base/byte-string.ts";

export const ENV_BLOCK_SIZE = 1024;
const SIGNATURE = "# GRUB Environment Block\n";
/** A block whose lines lie in its first sector is never torn: the second sector only holds what it held before. */
export const ONE_SECTOR = 512;

interface EnvLine {
  /** Undefined for a comment, like the warning that newer tools write. */
  name?: ByteString;
  value: ByteString;
  /** As it stands in the block, with its newline. */
  text: ByteString;
}

/** Undefined where GRUB would not read it as a block either. */
function parseLines(bytes: Uint8Array): EnvLine[] | undefined {
  const text = byteString(bytes);
  if (!text.startsWith(SIGNATURE)) return undefined;
  const lines: EnvLine[] = [];
  let at = SIGNATURE.length;
  while (at < text.length) {
    const start = at;
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
    at++;
    lines.push({ name, value, text: text.slice(start, at) });
  }
  return lines;
}

/** The variables; undefined where GRUB would not read it as a block either. The last of equal names wins, as in GRUB. */
export function parseEnvBlock(bytes: Uint8Array): Map<ByteString, ByteString> | undefined {
  const lines = parseLines(bytes);
  if (lines === undefined) return undefined;
  const variables = new Map<ByteString, ByteString>();
  for (const { name, value } of lines) if (name !== undefined) variables.set(name, value);
  return variables;
}

/** A whole block; undefined where the variables do not fit. Empty values are left out: GRUB treats both alike. */
export function printEnvBlock(variables: ReadonlyMap<ByteString, ByteString>): Uint8Array | undefined {
  return printLines([...variables].map(([name, value]) => line(name, value)), ENV_BLOCK_SIZE);
}

/**
 * The block with some variables changed and everything else as it was, its comments too: other programs own those. A name that
 * stands there twice (GRUB reads the last, and changes the first) stands there once afterwards. Undefined where it is no block,
 * or where the lines would not lie in its first sector, not even without their comments.
 */
export function updateEnvBlock(
  bytes: Uint8Array,
  changes: ReadonlyMap<ByteString, ByteString>,
): Uint8Array | undefined {
  const lines = parseLines(bytes);
  if (lines === undefined) return undefined;
  const values = new Map<ByteString, ByteString>();
  for (const { name, value } of lines) if (name !== undefined) values.set(name, value);
  for (const [name, value] of changes) values.set(name, value);
  const kept: EnvLine[] = [];
  for (const old of lines) {
    if (old.name === undefined) kept.push(old);
    else if (values.has(old.name)) {
      kept.push(line(old.name, values.get(old.name) ?? ""));
      values.delete(old.name);
    }
  }
  for (const [name, value] of values) kept.push(line(name, value));
  return printLines(kept, ONE_SECTOR) ?? printLines(kept.filter(({ name }) => name !== undefined), ONE_SECTOR);
}

function line(name: ByteString, value: ByteString): EnvLine {
  return { name, value, text: `${name}=${value.replace(/[\\\n]/g, (c) => `\\${c}`)}\n` };
}

/** @param room bytes that the first line and these may take together. */
function printLines(lines: readonly EnvLine[], room: number): Uint8Array | undefined {
  const text = SIGNATURE + lines.filter(({ name, value }) => name === undefined || value !== "")
    .map(({ text }) => text).join("");
  return text.length > room ? undefined : bytesOf(text.padEnd(ENV_BLOCK_SIZE, "#"));
}
