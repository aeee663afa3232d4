/** The superblock of btrfs (Linux, include/uapi/linux/btrfs_tree.h, `struct btrfs_super_block`), as far as mending it needs. */
import { sameBytes } from "../base/bytes.ts";
import { crc32c } from "./crc32c.ts";

/** Bytes from the filesystem's start: the one that the kernel mounts by, and its first copy. */
export const BTRFS_SUPERBLOCK_OFFSET = 64 * 1024, BTRFS_COPY_OFFSET = 64 * 1024 * 1024;
export const BTRFS_SUPERBLOCK_SIZE = 4096;

const CSUM_SIZE = 32, FSID_AT = 32, FSID_SIZE = 16, BYTENR_AT = 48, MAGIC_AT = 64, CSUM_TYPE_AT = 196;
/** `_BHRfS_M`. */
const MAGIC = 0x4d5f53665248425fn;
/** `BTRFS_CSUM_TYPE_CRC32`: what mkfs.btrfs takes where nothing is said. Others cannot be told right from wrong here. */
const CRC32C = 0;

/**
 * What the first superblock is to be where its sum is wrong: its copy, which names another place. Eight sectors lie under one sum, so
 * a power cut can tear it; the copy is of the same moment, or of the one before, whose trees are still there. Undefined where
 * there is nothing to mend, or nothing to mend it with.
 */
export function mendedBtrfsSuperblock(first: Uint8Array, copy: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (!isBtrfs(first) || isWhole(first) || !isBtrfs(copy) || !isWhole(copy)) return undefined;
  const fsid = (bytes: Uint8Array) => bytes.subarray(FSID_AT, FSID_AT + FSID_SIZE);
  if (!sameBytes(fsid(first), fsid(copy))) return undefined;
  const mended = new Uint8Array(copy), view = new DataView(mended.buffer);
  view.setBigUint64(BYTENR_AT, BigInt(BTRFS_SUPERBLOCK_OFFSET), true);
  view.setUint32(0, sumOf(mended), true);
  return mended;
}

function isBtrfs(bytes: Uint8Array): boolean {
  if (bytes.length !== BTRFS_SUPERBLOCK_SIZE) return false;
  const view = viewOf(bytes);
  return view.getBigUint64(MAGIC_AT, true) === MAGIC && view.getUint16(CSUM_TYPE_AT, true) === CRC32C;
}

const isWhole = (bytes: Uint8Array) => viewOf(bytes).getUint32(0, true) === sumOf(bytes);

const sumOf = (bytes: Uint8Array) => ~crc32c(0xffffffff, bytes.subarray(CSUM_SIZE)) >>> 0;

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
