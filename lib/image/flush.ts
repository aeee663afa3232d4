/**
 * Writes an image to the disk while it is being filled. Left alone, the kernel would keep everything in memory until the end, and
 * the disk would stand idle while layers are inflated and the processors while the disk writes.
 */
import type { Kernel } from "../system/kernel.ts";

/** So much is gathered before a flush is worth its while. Bytes. */
const EVERY = 64 * 1024 * 1024;

export class BackgroundFlush {
  readonly #kernel: Kernel;
  readonly #filesystem: number;
  readonly #file: number;
  #gathered = 0;
  #running: Promise<void> | undefined;
  #failure: { reason: unknown } | undefined;

  /** @param filesystem a directory of the mounted image. @param file the image itself. Both stay the caller's. */
  constructor(kernel: Kernel, filesystem: number, file: number) {
    this.#kernel = kernel;
    this.#filesystem = filesystem;
    this.#file = file;
  }

  /** Tells of `bytes` more; throws what an earlier flush failed with. */
  wrote(bytes: number): void {
    this.#gathered += bytes;
    if (this.#failure !== undefined) throw this.#failure.reason;
    if (this.#gathered < EVERY || this.#running !== undefined) return;
    this.#gathered = 0;
    this.#running = this.#kernel.flushBeside(this.#filesystem, this.#file).then(
      () => this.#running = undefined,
      (reason) => {
        this.#running = undefined;
        this.#failure = { reason };
      },
    );
  }

  /** Waits for a flush under way, so that descriptors may be closed. Throws nothing. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** Everything is on the disk when it resolves. Throws what any flush failed with. */
  async finish(): Promise<void> {
    await this.settle();
    if (this.#failure !== undefined) throw this.#failure.reason;
    await this.#kernel.flushBeside(this.#filesystem, this.#file);
  }
}
