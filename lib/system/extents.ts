/** Where a file's blocks lie, and in which state: Documentation/filesystems/fiemap.rst. */
import { hasErrno, type Kernel } from "./kernel.ts";

// include/uapi/linux/fiemap.h
const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_FLAG_SYNC = 1;
const FIEMAP_EXTENT_LAST = 0x1;
const NOT_WRITTEN = 0x2 /* UNKNOWN */ | 0x4 /* DELALLOC */ | 0x800 /* UNWRITTEN */;
/** What lies on the disk is not what the file reads as, or does not begin with a block. */
const NOT_PLAIN = NOT_WRITTEN | 0x8 /* ENCODED */ | 0x80 /* DATA_ENCRYPTED */ | 0x100 /* NOT_ALIGNED */ |
  0x200 /* DATA_INLINE */ | 0x400; /* DATA_TAIL */
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
  const map = new ExtentMap(kernel);
  let start = 0;
  for (;;) {
    const count = map.ask(file, start, FIEMAP_FLAG_SYNC);
    if (count <= 0) return;
    for (let i = 0; i < count; i++) {
      const offset = map.offset(i), length = map.length(i), flags = map.flags(i);
      yield { offset, length, written: (flags & NOT_WRITTEN) === 0 };
      if (flags & FIEMAP_EXTENT_LAST) return;
      start = offset + length;
    }
  }
}

/** The places of many files, one after the other, with one buffer for all. */
export class ExtentMap {
  readonly #kernel: Kernel;
  readonly #buffer = new Uint8Array(HEADER + EXTENT * EXTENTS_A_CALL);
  readonly #view = new DataView(this.#buffer.buffer);

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Calls `piece` with each run of blocks that holds the file's first `size` bytes, in the file's order: where on the device it
   * begins, and its length, both in bytes. False, after any number of calls, where that does not describe the file: it has
   * holes, or its content stands otherwise on the disk than it reads.
   */
  pieces(file: number, size: number, piece: (place: number, length: number) => void): boolean {
    let at = 0;
    while (at < size) {
      const count = this.ask(file, at, 0);
      if (count <= 0) return false;
      for (let i = 0; i < count && at < size; i++) {
        if (this.offset(i) !== at || (this.flags(i) & NOT_PLAIN) !== 0) return false;
        const length = Math.min(this.length(i), size - at);
        piece(this.place(i), length);
        at += length;
      }
    }
    return true;
  }

  /** The number of extents from `start` on that the buffer holds now; -1 where the filesystem does not tell. */
  ask(file: number, start: number, flags: number): number {
    const view = this.#view;
    view.setBigUint64(0, BigInt(start), true);
    view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true);
    view.setUint32(16, flags, true);
    view.setUint32(20, 0, true);
    view.setUint32(24, EXTENTS_A_CALL, true);
    try {
      this.#kernel.ioctl(file, FS_IOC_FIEMAP, this.#buffer);
    } catch (thrown) {
      if (hasErrno(thrown, "EOPNOTSUPP", "ENOTTY")) return -1;
      throw thrown;
    }
    return view.getUint32(20, true);
  }

  offset(index: number): number {
    return Number(this.#view.getBigUint64(HEADER + index * EXTENT, true));
  }

  length(index: number): number {
    return Number(this.#view.getBigUint64(HEADER + index * EXTENT + 16, true));
  }

  /** Where it lies on the device, in bytes. */
  place(index: number): number {
    return Number(this.#view.getBigUint64(HEADER + index * EXTENT + 8, true));
  }

  flags(index: number): number {
    return this.#view.getUint32(HEADER + index * EXTENT + 40, true);
  }
}
