/** A disk in memory, on which writes of a log are replayed, taken back, and told apart by a checksum of the whole. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";

export const BLOCK = 4096;
const ZEROS = new Uint8Array(BLOCK);

export class ReplayedDisk {
  readonly bytes: Uint8Array;
  /** Four words a block, zero for a block of zeros; the checksum of the disk is all of them, combined. */
  readonly #sums: Uint32Array;
  readonly #sum = new Uint32Array(4);
  /** What stood where something was written since `mark`, the last first. */
  #undo: { offset: number; data: Uint8Array }[] | undefined;

  /** @param file its length is a multiple of the block size. */
  constructor(file: string) {
    this.bytes = new Uint8Array(readFileSync(file));
    this.#sums = new Uint32Array(this.bytes.length / BLOCK * 4);
    for (let block = 0; block * BLOCK < this.bytes.length; block++) this.#note(block);
  }

  write(offset: number, data: Uint8Array): void {
    if (data.length === 0) return;
    this.#undo?.push({ offset, data: this.bytes.slice(offset, offset + data.length) });
    this.bytes.set(data, offset);
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < offset + data.length; block++) this.#note(block);
  }

  mark(): void {
    this.#undo = [];
  }

  /** Takes back what was written since `mark`. */
  back(): void {
    const undo = this.#undo ?? [];
    this.#undo = undefined;
    for (const { offset, data } of undo.reverse()) this.write(offset, data);
  }

  /** Differs where the contents do. */
  sum(): string {
    return [...this.#sum].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  /** Of some of its blocks. */
  sumOf(blocks: Iterable<number>): string {
    const sum = [0, 0, 0, 0];
    for (const block of blocks) {
      for (let i = 0; i < 4; i++) sum[i] = (sum[i] ?? 0) ^ (this.#sums[block * 4 + i] ?? 0);
    }
    return sum.join(" ");
  }

  /** Into a file that a loop device may be on: its length does not stay, but comes back. */
  save(path: string): void {
    const fd = openSync(path, "r+");
    try {
      ftruncateSync(fd, 0);
      ftruncateSync(fd, this.bytes.length);
      for (const [from, to] of this.#runs()) writeSync(fd, this.bytes, from, to - from, from);
    } finally {
      closeSync(fd);
    }
  }

  *#runs(): Generator<[number, number]> {
    let start = -1;
    const blocks = this.bytes.length / BLOCK;
    for (let block = 0; block <= blocks; block++) {
      const used = block < blocks && this.#sums[block * 4] !== 0;
      if (used && start < 0) start = block;
      if (used || start < 0) continue;
      yield [start * BLOCK, block * BLOCK];
      start = -1;
    }
  }

  #note(block: number): void {
    const bytes = this.bytes.subarray(block * BLOCK, (block + 1) * BLOCK), words = [0, 0, 0, 0];
    if (Buffer.compare(bytes, ZEROS) !== 0) {
      const digest = createHash("sha1").update(`${block} `).update(bytes).digest();
      for (let i = 0; i < 4; i++) words[i] = digest.readUInt32LE(i * 4);
      words[0] = words[0] === 0 ? 1 : words[0] ?? 0;
    }
    for (let i = 0; i < 4; i++) {
      this.#sum[i] = (this.#sum[i] ?? 0) ^ (this.#sums[block * 4 + i] ?? 0) ^ (words[i] ?? 0);
      this.#sums[block * 4 + i] = words[i] ?? 0;
    }
  }
}
