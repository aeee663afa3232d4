/** An image's bytes from its file, mostly in rising order; the disk is asked ahead, so that it reads while sums are made. */
import type { Kernel } from "../system/kernel.ts";

/** One read, in bytes. */
const WINDOW = 1024 * 1024;
/** So far ahead the disk is asked, in bytes. */
const AHEAD = 8 * 1024 * 1024;
/** One call of advice: the kernel cuts longer ones to what the disk's queue takes, which is seldom less. */
const ADVICE = 128 * 1024;

export class ImageStream {
  readonly #kernel: Kernel;
  readonly #file: number;
  readonly #buffer = new Uint8Array(WINDOW);
  #start = 0;
  #end = 0;
  #asked = 0;

  constructor(kernel: Kernel, file: number) {
    this.#kernel = kernel;
    this.#file = file;
  }

  /** Between one and `most` bytes at `offset`, valid until the next call; none behind the file's end. */
  bytes(offset: number, most: number): Uint8Array {
    if (offset < this.#start || offset >= this.#end) {
      this.#ask(offset);
      this.#start = offset;
      this.#end = offset + this.#kernel.pread(this.#file, this.#buffer, offset);
    }
    const from = offset - this.#start;
    return this.#buffer.subarray(from, Math.min(from + most, this.#end - this.#start));
  }

  #ask(offset: number): void {
    // What was asked for before is of no use behind a jump.
    if (offset > this.#asked || offset + AHEAD < this.#asked - WINDOW) this.#asked = offset;
    for (; this.#asked < offset + AHEAD; this.#asked += ADVICE) {
      this.#kernel.readAhead(this.#file, this.#asked, ADVICE);
    }
  }
}
