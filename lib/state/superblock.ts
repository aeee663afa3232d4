/** Mending a superblock whose only fault is its checksum: label and checksum lie in two sectors, and a cut can tear them apart. */
import type { ByteString } from "../base/byte-string.ts";
import { mendedSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from "../formats/ext-superblock.ts";
import { type Kernel, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";

/** Of an image, or of a device that is not mounted. True where there was something to mend; it is durable then. */
export function mendSuperblock(kernel: Kernel, directory: number, path: ByteString): boolean {
  const fd = kernel.openat(directory, path, O_RDWR | O_NOFOLLOW);
  try {
    const bytes = new Uint8Array(SUPERBLOCK_SIZE);
    const mended = mendedSuperblock(bytes.subarray(0, kernel.pread(fd, bytes, SUPERBLOCK_OFFSET)));
    if (mended === undefined) return false;
    kernel.pwrite(fd, mended, SUPERBLOCK_OFFSET);
    kernel.fdatasync(fd);
    return true;
  } finally {
    kernel.close(fd);
  }
}
