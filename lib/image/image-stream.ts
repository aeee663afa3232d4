/**
 * An image's bytes as they lie on the disk, mostly in rising order. They are read past the page cache where the filesystem can:
 * half a gigabyte that nobody needs in memory would push out what somebody does.
 */
import { AT_FDCWD, hasErrno, type Kernel, O_DIRECT, O_RDONLY } from "../system/kernel.ts";

/** One read, in bytes: large, since nothing is read ahead. */
const WINDOW = 4 * 1024 * 1024;
const PAGE = 4096;

export class ImageStream implements Disposable {
  readonly #kernel: Kernel;
  readonly #file: number;
  readonly #buffer: Uint8Array;
  #direct: number | undefined;
  #start = 0;
  #end = 0;
  #wanted = 0;

  /** @param file stays the caller's; what of it is in the page cache must be the same as on the disk, or be dropped before. */
  constructor(kernel: Kernel, file: number) {
    this.#kernel = kernel;
    this.#file = file;
    this.#buffer = kernel.alignedBuffer(WINDOW);
    try {
      this.#direct = kernel.openat(AT_FDCWD, `/proc/self/fd/${file}`, O_RDONLY | O_DIRECT);
    } catch (thrown) {
      if (!hasErrno(thrown, "EINVAL")) throw thrown;
    }
  }

  [Symbol.dispose](): void {
    if (this.#direct !== undefined) this.#kernel.close(this.#direct);
    this.#direct = undefined;
  }

  /** Says up to where, without large gaps, bytes will be asked for: no read goes much further. */
  expect(end: number): void {
    this.#wanted = end;
  }

  /** Between one and `most` bytes at `offset`, valid until the next call; none behind the file's end. */
  bytes(offset: number, most: number): Uint8Array {
    if (offset < this.#start || offset >= this.#end) {
      this.#start = offset - offset % PAGE;
      this.#end = this.#start + this.#read();
      if (offset >= this.#end) return this.#buffer.subarray(0, 0);
    }
    const from = offset - this.#start;
    return this.#buffer.subarray(from, Math.min(from + most, this.#end - this.#start));
  }

  #read(): number {
    const wanted = Math.max(this.#wanted - this.#start, PAGE), whole = wanted + (PAGE - wanted % PAGE) % PAGE;
    const buffer = whole < WINDOW ? this.#buffer.subarray(0, whole) : this.#buffer;
    if (this.#direct !== undefined) {
      try {
        return this.#kernel.pread(this.#direct, buffer, this.#start);
      } catch (thrown) {
        // Some filesystems find only now that they cannot.
        if (!hasErrno(thrown, "EINVAL")) throw thrown;
        this[Symbol.dispose]();
      }
    }
    return this.#kernel.pread(this.#file, buffer, this.#start);
  }
}
