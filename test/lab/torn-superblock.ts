/**
 * Whether the state partition's own superblock is whole. Where it takes more than one sector a disk can write it by half, and then
 * Linux mounts nothing, whoever wrote there: it is mended as `cos boot root` mends it, before the rest is looked at.
 */
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { mendBtrfsSuperblock, mendSuperblock } from "../../lib/state/superblock.ts";
import { AT_FDCWD } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import type { StateFilesystem } from "./disk.ts";
import { runProgram } from "./machine.ts";

const EXT4_AT = 1024, EXT4_SUM_AT = 1020;
/** The superblock, and its copies so far as the disk goes. */
const BTRFS_AT = [1 << 16, 1 << 26], BTRFS_SIZE = 4096, BTRFS_SUM_SIZE = 32;

/** It carries a checksum, which does not fit. The superblock of XFS lies in one sector. */
export function hasTornSuperblock(disk: Uint8Array, filesystem: StateFilesystem): boolean {
  switch (filesystem) {
    case "ext4": {
      const bytes = disk.subarray(EXT4_AT, EXT4_AT + 1024), view = viewOf(bytes);
      const isExt = view.getUint16(56, true) === 0xef53, summed = (view.getUint32(100, true) & 0x400) !== 0;
      return isExt && summed && crc32c(bytes.subarray(0, EXT4_SUM_AT)) !== view.getUint32(EXT4_SUM_AT, true);
    }
    case "btrfs":
      return tornCopies(disk)[0] === true;
    case "xfs":
      return false;
  }
}

/** All copies of it are torn in one cut, which no btrfs survives. */
export function isLost(disk: Uint8Array, filesystem: StateFilesystem, someTorn: boolean): boolean {
  return filesystem === "btrfs" && someTorn && tornCopies(disk).every((torn) => torn);
}

function tornCopies(disk: Uint8Array): boolean[] {
  return BTRFS_AT.filter((at) => at + BTRFS_SIZE <= disk.length).map((at) => {
    const bytes = disk.subarray(at, at + BTRFS_SIZE);
    return (~crc32c(bytes.subarray(BTRFS_SUM_SIZE)) >>> 0) !== viewOf(bytes).getUint32(0, true);
  });
}

/** As `cos boot root` does it. @param someTorn the cut has torn a write: without that, nothing excuses it. Returns what is wrong. */
export async function mendTornSuperblock(
  file: string,
  filesystem: StateFilesystem,
  someTorn: boolean,
): Promise<string[]> {
  const problems = someTorn ? [] : ["the superblock does not fit its checksum, and no write was torn"];
  const mend = filesystem === "btrfs" ? mendBtrfsSuperblock : mendSuperblock;
  if (!mend(new LinuxKernel(), AT_FDCWD, byteStringOf(file))) problems.push("cos does not mend the torn superblock");
  if (filesystem === "btrfs") return problems;
  const { status, out, err } = await runProgram("e2fsck", ["-p", file]);
  if (status > 1) problems.push(`e2fsck -p ends with ${status}: ${out.trim()} ${err.trim()}`);
  return problems;
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** Castagnoli's polynomial, begun with all bits set and, as ext4 takes it, not inverted at the end. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : crc >>> 1 ^ 0x82f63b78;
  }
  return crc >>> 0;
}
