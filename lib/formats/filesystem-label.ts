/** Type and label of a filesystem from its first bytes, for machines without udev. */
import { type ByteString, byteString } from "../base/byte-string.ts";
import { parseExtSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from "./ext-superblock.ts";

export interface FilesystemLabel {
  /** As `mount -t` wants it; ext2 to ext4 are all read by `ext4`. */
  type: "ext4" | "xfs" | "btrfs";
  label: ByteString;
}

/** So many bytes from the start are enough. */
export const PROBE_SIZE = 65536 + 4096;

export function probeFilesystem(bytes: Uint8Array): FilesystemLabel | undefined {
  const ext = parseExtSuperblock(bytes.subarray(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE));
  if (ext !== undefined) return { type: "ext4", label: ext.label };
  // struct xfs_dsb: sb_magicnum, …, sb_fname of 12 bytes at 108.
  if (byteString(bytes, 0, 4) === "XFSB") return { type: "xfs", label: text(bytes, 108, 12) };
  // struct btrfs_super_block at 64 KiB: magic at 64, label of 256 bytes at 299.
  if (bytes.length >= PROBE_SIZE && byteString(bytes, 65536 + 64, 65536 + 72) === "_BHRfS_M") {
    return { type: "btrfs", label: text(bytes, 65536 + 299, 256) };
  }
  return undefined;
}

function text(bytes: Uint8Array, at: number, length: number): ByteString {
  const nul = bytes.indexOf(0, at);
  return byteString(bytes, at, nul < 0 || nul > at + length ? at + length : nul);
}
