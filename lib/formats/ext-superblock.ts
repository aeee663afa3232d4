/** The superblock of ext2, ext3 and ext4 (Linux, fs/ext4/ext4.h, `struct ext4_super_block`), as far as slots need it. */
import { type ByteString, byteString } from "../base/byte-string.ts";
import { crc32c } from "./crc32c.ts";

/** It lies this many bytes behind the filesystem's start, and is this long. */
export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_SIZE = 1024;
/** Offset of the 16-byte label from the filesystem's start. */
export const LABEL_OFFSET = SUPERBLOCK_OFFSET + 120;
export const LABEL_LENGTH = 16;

const COMPAT_HAS_JOURNAL = 0x4;
const RO_COMPAT_METADATA_CSUM = 0x400;

export interface ExtSuperblock {
  label: ByteString;
  /** Lower-case, with hyphens. */
  uuid: string;
  hasJournal: boolean;
  /** The superblock carries a checksum of itself: a label cannot be written without it. */
  hasChecksum: boolean;
  /** That checksum is wrong: the kernel refuses to mount it. */
  torn: boolean;
  inodes: number;
  /** Bytes. */
  blockSize: number;
  size: number;
}

/** Undefined where the 1024 bytes are no superblock of that family. */
export function parseExtSuperblock(bytes: Uint8Array): ExtSuperblock | undefined {
  if (bytes.length < SUPERBLOCK_SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(56, true) !== 0xef53) return undefined;
  const exponent = view.getUint32(24, true);
  // 64 KiB is the largest (EXT4_MAX_BLOCK_LOG_SIZE): the magic number alone is two bytes that may stand anywhere.
  if (exponent > 6) return undefined;
  const blockSize = 1024 << exponent;
  const label = bytes.subarray(120, 120 + LABEL_LENGTH), nul = label.indexOf(0);
  const hex = Array.from(bytes.subarray(104, 120), (b) => b.toString(16).padStart(2, "0")).join("");
  return {
    label: byteString(label, 0, nul < 0 ? LABEL_LENGTH : nul),
    uuid: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    hasJournal: (view.getUint32(92, true) & COMPAT_HAS_JOURNAL) !== 0,
    torn: mendedSuperblock(bytes) !== undefined,
    hasChecksum: (view.getUint32(100, true) & RO_COMPAT_METADATA_CSUM) !== 0,
    inodes: view.getUint32(0, true),
    blockSize,
    size: view.getUint32(4, true) * blockSize,
  };
}

/** `s_checksum_type` for CRC-32C, the only one there is, and where type and sum stand. */
const CRC32C = 1, CHECKSUM_TYPE_AT = 373, CHECKSUM_AT = 1020;

/**
 * A superblock whose sum is wrong, with the right one. Its two sectors may be of two moments after a power cut: all that is of
 * use in the second one is what never changes.
 */
export function mendedSuperblock(bytes: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (bytes.length < SUPERBLOCK_SIZE) return undefined;
  const mended = new Uint8Array(bytes.subarray(0, SUPERBLOCK_SIZE)), view = new DataView(mended.buffer);
  const hasChecksum = (view.getUint32(100, true) & RO_COMPAT_METADATA_CSUM) !== 0;
  if (view.getUint16(56, true) !== 0xef53 || !hasChecksum || mended[CHECKSUM_TYPE_AT] !== CRC32C) return undefined;
  const sum = crc32c(0xffffffff, mended.subarray(0, CHECKSUM_AT));
  if (view.getUint32(CHECKSUM_AT, true) === sum) return undefined;
  view.setUint32(CHECKSUM_AT, sum, true);
  return mended;
}
