/** Where a file's blocks lie, and in which state: Documentation/filesystems/fiemap.rst. */
import { hasErrno, type Kernel } from "./kernel.ts";

// include/uapi/linux/fiemap.h
const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_FLAG_SYNC = 1;
const FIEMAP_EXTENT_LAST = 0x1;
const NOT_WRITTEN = 0x2 /* UNKNOWN */ | 0x4 /* DELALLOC */ | 0x800 /* UNWRITTEN */;
const HEADER = 32, EXTENT = 56, EXTENTS_A_CALL = 512;

export interface Extent {
  /** Bytes from the file's start. */
  offset: number;
  length: number;
  /** The blocks have a place on the disk, and what reads from the file is what stands there. */
  written: boolean;
}

/** Flushes the file first. Nothing where the filesystem does not tell. */
export function* extents(kernel: Kernel, file: number): Generator<Extent> {
  const buffer = new Uint8Array(HEADER + EXTENT * EXTENTS_A_CALL), view = new DataView(buffer.buffer);
  let start = 0;
  for (;;) {
    buffer.fill(0);
    view.setBigUint64(0, BigInt(start), true);
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
      const offset = Number(view.getBigUint64(at, true)), length = Number(view.getBigUint64(at + 16, true));
      yield { offset, length, written: (flags & NOT_WRITTEN) === 0 };
      if (flags & FIEMAP_EXTENT_LAST) return;
      start = offset + length;
    }
  }
}
