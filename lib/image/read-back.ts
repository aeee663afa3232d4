/** Reads every file of a finished image from the disk and compares it with the checksum of what was written. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { type ContentSums, sparseSum } from "../system/content-sums.ts";
import { isDirectory, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { damaged } from "./damaged.ts";

/** One read, in bytes. */
const PIECE = 1024 * 1024;
/**
 * So many files are asked for before the first of them is read. Most are small, and each answer takes the disk and the loop
 * device longer than the reading itself.
 */
const AHEAD = 128;

interface Asked {
  fd: number;
  ino: number;
  size: number;
  path: ByteString;
}

export class ReadBack {
  readonly #kernel: Kernel;
  readonly #sums: ContentSums;
  readonly #buffer = new Uint8Array(PIECE);
  /** Inodes with several names are read once. */
  readonly #seen = new Set<number>();
  readonly #asked: Asked[] = [];
  #files = 0;

  constructor(kernel: Kernel, sums: ContentSums) {
    this.#kernel = kernel;
    this.#sums = sums;
  }

  /** @param root the top of the mounted image. Returns the number of files. Throws `IMAGE_DAMAGED`, `SystemCallError`. */
  tree(root: number): number {
    try {
      this.#directory(root, "");
      this.#compareUntil(0);
    } finally {
      for (const { fd } of this.#asked) this.#kernel.close(fd);
    }
    return this.#files;
  }

  #directory(dir: number, path: ByteString): void {
    const kernel = this.#kernel;
    // Nearly the order on the disk: inodes and their blocks are given out alike.
    const entries = kernel.readDirectory(dir).sort((a, b) => a.ino - b.ino);
    for (const { name } of entries) {
      const status = kernel.statat(dir, name), here = `${path}/${name}`;
      if (isDirectory(status)) {
        const fd = kernel.openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        try {
          this.#directory(fd, here);
        } finally {
          kernel.close(fd);
        }
      } else if (isRegular(status) && (status.nlink === 1 || !this.#seen.has(status.ino))) {
        if (status.nlink > 1) this.#seen.add(status.ino);
        const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW);
        this.#asked.push({ fd, ino: status.ino, size: status.size, path: here });
        if (status.size > 0) kernel.readAhead(fd);
        this.#compareUntil(AHEAD);
      }
    }
  }

  /** Compares the files that were asked for first, until no more than `most` are left. */
  #compareUntil(most: number): void {
    while (this.#asked.length > most) {
      const [next] = this.#asked;
      if (next === undefined) return;
      this.#compare(next);
      this.#asked.shift();
      this.#kernel.close(next.fd);
    }
  }

  #compare({ fd, ino, size, path }: Asked): void {
    this.#files++;
    const written = this.#sums.get(ino);
    if (written === undefined) throw damaged(`${displayName(path)} is there, and nobody wrote it`, {});
    const sum = written.sparse ? sparseSum(this.#kernel, fd, this.#sums.crc32, this.#buffer) : this.#whole(fd, size);
    if (sum !== written.sum) throw damaged(`${displayName(path)} reads back otherwise than it was written`, {});
  }

  #whole(fd: number, size: number): number {
    const buffer = this.#buffer;
    let sum = 0;
    for (let at = 0; at < size;) {
      const count = this.#kernel.read(fd, size - at < PIECE ? buffer.subarray(0, size - at) : buffer);
      if (count === 0) break; // shorter than it says: the sum will tell
      sum = this.#sums.crc32(count === PIECE ? buffer : buffer.subarray(0, count), sum);
      at += count;
    }
    return sum;
  }
}
