/** Checks of a finished image: on the disk, not in memory, and with other eyes than those that wrote it. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { ContentSums } from "../system/content-sums.ts";
import { sparseSum } from "../system/content-sums.ts";
import { isDirectory, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { extents } from "../system/extents.ts";
import { attachLoop } from "../system/loop.ts";
import type { System } from "../system/system.ts";
import { mountLoop } from "./mount.ts";

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
  for (const { offset, written } of extents(kernel, file)) {
    if (!written) throw damaged(`the block at ${offset} is not written on the disk`, {});
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
