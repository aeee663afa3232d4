/**
 * A checksum of every file's content, taken while it is written and compared with what the finished image reads back. It is
 * there to find bytes that a full disk, a failing one or a faulty driver lost, not to resist anybody: what was written is
 * proven by digest already. CRC-32 costs next to nothing.
 */
import type { Kernel } from "./kernel.ts";

export type Crc32 = (bytes: Uint8Array, start: number) => number;

/** Piece in which files with holes are summed, in bytes. */
const PIECE = 65536;

export class ContentSums {
  readonly crc32: Crc32;
  /** By inode number; each sum is stored one higher, so that 0 means "not known". */
  #sums = new Float64Array(4096);
  /** Inodes whose sum is a `sparseSum`. */
  #sparse = new Set<number>();

  constructor(crc32: Crc32) {
    this.crc32 = crc32;
  }

  set(ino: number, sum: number, sparse = false): void {
    if (ino >= this.#sums.length) {
      const larger = new Float64Array(Math.max(ino + 1, this.#sums.length * 2));
      larger.set(this.#sums);
      this.#sums = larger;
    }
    this.#sums[ino] = sum + 1;
    if (sparse) this.#sparse.add(ino);
    else if (this.#sparse.size > 0) this.#sparse.delete(ino);
  }

  get(ino: number): { sum: number; sparse: boolean } | undefined {
    const stored = this.#sums[ino] ?? 0;
    return stored === 0 ? undefined : { sum: stored - 1, sparse: this.#sparse.has(ino) };
  }
}

/**
 * The sum of a file with holes: over position and content of each piece that is not all zeros. A file may claim to be larger
 * than any disk; only what is stored is read.
 */
export function sparseSum(kernel: Kernel, fd: number, crc32: Crc32, buffer: Uint8Array): number {
  const { size } = kernel.fstat(fd);
  const position = new Uint8Array(8), view = new DataView(position.buffer);
  let sum = 0;
  for (let at = kernel.seekData(fd, 0); at >= 0 && at < size;) {
    const end = kernel.seekHole(fd, at);
    // Pieces lie at multiples of their size, wherever the filesystem says that data begins.
    for (at -= at % PIECE; at < end; at += PIECE) {
      const piece = buffer.subarray(0, kernel.pread(fd, buffer.subarray(0, PIECE), at));
      if (piece.every((byte) => byte === 0)) continue;
      view.setBigUint64(0, BigInt(at), true);
      sum = crc32(piece, crc32(position, sum));
    }
    at = kernel.seekData(fd, at);
  }
  return sum;
}
