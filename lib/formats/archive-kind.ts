/** What a file is, from its first bytes: names have been seen to lie. */

/** As many bytes are enough. */
export const KIND_BYTES = 6;

const MAGIC: readonly (readonly [kind: string, bytes: readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["lz4", [0x04, 0x22, 0x4d, 0x18]],
];

/** `gzip`, `zstd`, another kind of compression by its program's name, or `none`. */
export function compressionOf(start: Uint8Array): string {
  for (const [kind, bytes] of MAGIC) if (bytes.every((byte, i) => start[i] === byte)) return kind;
  // A zstd stream may begin with a frame that is passed over: 184D2A50 to 184D2A5F, little-endian.
  const skippable = ((start[0] ?? 0) & 0xf0) === 0x50 && start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18;
  return skippable ? "zstd" : "none";
}

/** The compressions that are undone here. */
export function isReadable(kind: string): boolean {
  return kind === "none" || kind === "gzip" || kind === "zstd";
}
