/** Mending a superblock that a power cut has torn: it lies in several sectors, under one checksum. */
import type { ByteString } from "../base/byte-string.ts";
import {
  BTRFS_COPY_OFFSET,
  BTRFS_SUPERBLOCK_OFFSET,
  BTRFS_SUPERBLOCK_SIZE,
  mendedBtrfsSuperblock,
} from "../formats/btrfs-superblock.ts";
import { mendedSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from "../formats/ext-superblock.ts";
import { type Kernel, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";

/** Of an ext image, or of a device that is not mounted. True where there was something to mend; it is durable then. */
export function mendSuperblock(kernel: Kernel, directory: number, path: ByteString): boolean {
  return mend(
    kernel,
    directory,
    path,
    SUPERBLOCK_OFFSET,
    (read) => mendedSuperblock(read(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE)),
  );
}

/** Of a device that is not mounted, from the copy that it holds. True where there was something to mend; it is durable then. */
export function mendBtrfsSuperblock(kernel: Kernel, directory: number, path: ByteString): boolean {
  return mend(kernel, directory, path, BTRFS_SUPERBLOCK_OFFSET, (read) => {
    const [first, copy] = [BTRFS_SUPERBLOCK_OFFSET, BTRFS_COPY_OFFSET].map((at) => read(at, BTRFS_SUPERBLOCK_SIZE));
    return first === undefined || copy === undefined ? undefined : mendedBtrfsSuperblock(first, copy);
  });
}

function mend(
  kernel: Kernel,
  directory: number,
  path: ByteString,
  offset: number,
  mended: (read: (at: number, size: number) => Uint8Array) => Uint8Array | undefined,
): boolean {
  const fd = kernel.openat(directory, path, O_RDWR | O_NOFOLLOW);
  try {
    const bytes = mended((at, size) => {
      const buffer = new Uint8Array(size);
      return buffer.subarray(0, kernel.pread(fd, buffer, at));
    });
    if (bytes === undefined) return false;
    kernel.pwrite(fd, bytes, offset);
    kernel.fdatasync(fd);
    return true;
  } finally {
    kernel.close(fd);
  }
}
