/**
 * Reads every file of a finished image from the disk and compares it with the checksum of what was written. The filesystem's
 * driver says where each file lies; the bytes are then read from the image in the order of their places, as one long stream.
 * To read file by file through the loop device takes three times as long.
 */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { type ContentSums, sparseSum } from "../system/content-sums.ts";
import { ExtentMap } from "../system/extents.ts";
import { DT_DIR, DT_REG, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { damaged } from "./damaged.ts";
import { ImageStream } from "./image-stream.ts";

/** So many files are gathered, then read. Their places and names are all that is kept in memory. */
const BATCH = 16_384;
/** One read of a file that is read through the mount, in bytes. */
const PIECE = 1024 * 1024;

export class ReadBack {
  readonly #kernel: Kernel;
  readonly #sums: ContentSums;
  readonly #image: number;
  readonly #map: ExtentMap;
  /** Inodes with several names are read once. */
  readonly #seen = new Set<number>();
  #buffer: Uint8Array | undefined;
  #files = 0;

  // Of the files that are gathered, each by its number; of their pieces, those of file i from first[i] up to first[i + 1].
  readonly #paths: ByteString[] = [];
  readonly #wanted = new Float64Array(BATCH);
  readonly #first = new Uint32Array(BATCH + 1);
  readonly #places: number[] = [];
  readonly #lengths: number[] = [];

  /** @param image the image's file, opened for reading; stays the caller's. */
  constructor(kernel: Kernel, sums: ContentSums, image: number) {
    this.#kernel = kernel;
    this.#sums = sums;
    this.#image = image;
    this.#map = new ExtentMap(kernel);
  }

  /** @param root the top of the mounted image. Returns the number of files. Throws `IMAGE_DAMAGED`, `SystemCallError`. */
  tree(root: number): number {
    this.#directory(root, "");
    this.#compare();
    return this.#files;
  }

  #directory(dir: number, path: ByteString): void {
    const kernel = this.#kernel;
    for (const { name, type } of kernel.readDirectory(dir)) {
      const here = `${path}/${name}`;
      if (type === DT_DIR) {
        const fd = kernel.openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        try {
          this.#directory(fd, here);
        } finally {
          kernel.close(fd);
        }
      } else if (type === DT_REG) {
        const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW);
        try {
          this.#file(fd, here);
        } finally {
          kernel.close(fd);
        }
      }
    }
  }

  #file(fd: number, path: ByteString): void {
    const status = this.#kernel.fstat(fd), { ino, size, nlink } = status;
    if (!isRegular(status)) throw damaged(`${displayName(path)} is a file by its directory, and none by itself`, {});
    if (nlink > 1) {
      if (this.#seen.has(ino)) return;
      this.#seen.add(ino);
    }
    this.#files++;
    const written = this.#sums.get(ino);
    if (written === undefined) throw damaged(`${displayName(path)} is there, and nobody wrote it`, {});
    const places = this.#places, lengths = this.#lengths, before = places.length;
    const plain = !written.sparse && this.#map.pieces(fd, size, (physical, length) => {
      places.push(physical);
      lengths.push(length);
    });
    if (!plain) {
      places.length = lengths.length = before;
      const buffer = this.#buffer ??= new Uint8Array(PIECE);
      const sum = written.sparse ? sparseSum(this.#kernel, fd, this.#sums.crc32, buffer) : this.#whole(fd, buffer);
      if (sum !== written.sum) throw differs(path);
      return;
    }
    const index = this.#paths.push(path) - 1;
    this.#wanted[index] = written.sum;
    this.#first[index + 1] = places.length;
    if (this.#paths.length === BATCH) this.#compare();
  }

  /** Reads the gathered files in the order of their places. */
  #compare(): void {
    const { crc32 } = this.#sums, first = this.#first, places = this.#places, lengths = this.#lengths;
    const stream = new ImageStream(this.#kernel, this.#image);
    const order = new Uint32Array(this.#paths.length).map((_, index) => index);
    const place = (index: number) => places[first[index] ?? 0] ?? 0;
    order.sort((a, b) => place(a) - place(b));
    for (const index of order) {
      let sum = 0;
      for (let piece = first[index] ?? 0; piece < (first[index + 1] ?? 0); piece++) {
        for (let at = places[piece] ?? 0, left = lengths[piece] ?? 0; left > 0;) {
          const bytes = stream.bytes(at, left);
          // Shorter than the filesystem says: the sum will tell.
          if (bytes.length === 0) break;
          sum = crc32(bytes, sum);
          at += bytes.length;
          left -= bytes.length;
        }
      }
      if (sum !== this.#wanted[index]) throw differs(this.#paths[index] ?? "");
    }
    this.#paths.length = places.length = lengths.length = 0;
  }

  #whole(fd: number, buffer: Uint8Array): number {
    for (let sum = 0;;) {
      const count = this.#kernel.read(fd, buffer);
      if (count === 0) return sum;
      sum = this.#sums.crc32(buffer.subarray(0, count), sum);
    }
  }
}

function differs(path: ByteString): Error {
  return damaged(`${displayName(path)} reads back otherwise than it was written`, {});
}
