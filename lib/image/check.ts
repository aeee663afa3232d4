/** Checks of a finished image: on the disk, not in memory, and with other eyes than those that wrote it. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { ContentSums } from "../system/content-sums.ts";
import { sparseSum } from "../system/content-sums.ts";
import { hasErrno, isDirectory, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { attachLoop } from "../system/loop.ts";
import type { System } from "../system/system.ts";
import { mountLoop } from "./mount.ts";

// include/uapi/linux/fiemap.h
const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_FLAG_SYNC = 1;
const FIEMAP_EXTENT_LAST = 0x1,
  FIEMAP_EXTENT_UNKNOWN = 0x2,
  FIEMAP_EXTENT_DELALLOC = 0x4,
  FIEMAP_EXTENT_UNWRITTEN = 0x800;
const HEADER = 32, EXTENT = 56, EXTENTS_A_CALL = 512;
/** One read of a file's content, in bytes. */
const PIECE = 1024 * 1024;

/**
 * Flushes the image, then reads it back: no block in a state that boot loaders misread, the filesystem clean, every file's
 * content as it was written. Returns the number of files. Throws `IMAGE_DAMAGED`, `TOOL_MISSING`, `SystemCallError`.
 */
export async function checkImage(
  system: Pick<System, "kernel" | "programs" | "pid">,
  file: number,
  sums: ContentSums,
): Promise<number> {
  const { kernel } = system;
  // Errors that the page cache has kept so far come out here.
  kernel.fsync(file);
  checkExtents(kernel, file);
  kernel.dropCache(file);
  // A device that nothing has been read through yet, past the page cache where the filesystem can.
  using loop = attachLoop(kernel, system.pid, file, { readOnly: true, directIo: true, name: "cos-check" });
  const { status, output } = await system.programs.run("e2fsck", ["-fn", loop.path]);
  if (status !== 0) {
    throw damaged(`e2fsck ended with status ${status}`, { output });
  }
  const root = mountLoop(kernel, loop, true);
  try {
    return readBack(kernel, root, sums);
  } finally {
    kernel.close(root);
  }
}

/**
 * GRUB ignores the mark "allocated but unwritten" and reads what lay on the disk before; blocks whose place is not decided yet
 * are not on the disk at all.
 */
function checkExtents(kernel: Kernel, file: number): void {
  const buffer = new Uint8Array(HEADER + EXTENT * EXTENTS_A_CALL), view = new DataView(buffer.buffer);
  let start = 0n;
  for (;;) {
    buffer.fill(0);
    view.setBigUint64(0, start, true);
    view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true);
    view.setUint32(16, FIEMAP_FLAG_SYNC, true);
    view.setUint32(24, EXTENTS_A_CALL, true);
    try {
      kernel.ioctl(file, FS_IOC_FIEMAP, buffer);
    } catch (thrown) {
      if (hasErrno(thrown, "EOPNOTSUPP", "ENOTTY")) return;
      throw thrown;
    }
    const count = view.getUint32(20, true);
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      const at = HEADER + i * EXTENT, flags = view.getUint32(at + 40, true);
      if (flags & (FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN)) {
        const logical = view.getBigUint64(at, true);
        throw damaged(`the block at ${logical} is not written on the disk`, {});
      }
      start = view.getBigUint64(at, true) + view.getBigUint64(at + 16, true);
      if (flags & FIEMAP_EXTENT_LAST) return;
    }
  }
}

function readBack(kernel: Kernel, root: number, sums: ContentSums): number {
  const buffer = new Uint8Array(PIECE);
  /** Hardlinked files are read once. */
  const seen = new Set<number>();
  let files = 0;
  const visit = (dir: number, path: ByteString) => {
    // Nearly the order on the disk: inodes and their blocks are given out alike.
    const entries = kernel.readDirectory(dir).sort((a, b) => a.ino - b.ino);
    for (const { name } of entries) {
      const status = kernel.statat(dir, name), here = `${path}/${name}`;
      if (isDirectory(status)) {
        const fd = kernel.openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        try {
          visit(fd, here);
        } finally {
          kernel.close(fd);
        }
      } else if (isRegular(status) && (status.nlink === 1 || !seen.has(status.ino))) {
        if (status.nlink > 1) seen.add(status.ino);
        files++;
        const written = sums.get(status.ino);
        if (written === undefined) throw damaged(`${displayName(here)} is there, and nobody wrote it`, {});
        const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW);
        try {
          const sum = written.sparse
            ? sparseSum(kernel, fd, sums.crc32, buffer)
            : wholeSum(kernel, fd, status.size, sums, buffer);
          if (sum !== written.sum) throw damaged(`${displayName(here)} reads back otherwise than it was written`, {});
        } finally {
          kernel.close(fd);
        }
      }
    }
  };
  visit(root, "");
  return files;
}

function wholeSum(kernel: Kernel, fd: number, size: number, sums: ContentSums, buffer: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < size;) {
    const count = kernel.read(fd, size - at < buffer.length ? buffer.subarray(0, size - at) : buffer);
    if (count === 0) break; // shorter than it says: the sum will tell
    sum = sums.crc32(count === buffer.length ? buffer : buffer.subarray(0, count), sum);
    at += count;
  }
  return sum;
}

function damaged(why: string, details: Record<string, string | number>): CosError {
  return new CosError("IMAGE_DAMAGED", `The new image is damaged: ${why}.`, {
    hint: "Nothing was switched. Look at the kernel's log (dmesg) for errors of the disk, and run it again.",
    details,
  });
}
