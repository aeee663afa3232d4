/** What Linux finds on a state partition, whose mount replays the journal. Images are told apart by content, the label left out. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { extents } from "../../lib/system/extents.ts";
import { AT_FDCWD, hasErrno, O_RDONLY } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import type { StateFilesystem } from "./disk.ts";

export const SLOTS = ["active", "passive"] as const;
export type Slot = typeof SLOTS[number];

const LABEL_AT = 1024 + 120, LABEL_LENGTH = 16;
const UUID_AT = 1024 + 104, UUID_LENGTH = 16;
const BLOCK = 4096;
const ZEROS = new Uint8Array(BLOCK);

/** What is read of a file: all of it, or what no hole is; each piece begins and ends at a block, but for the file's end. */
export interface Pieces {
  size: number;
  pieces: readonly { offset: number; bytes: Uint8Array }[];
}

export const wholeFile = (bytes: Uint8Array): Pieces => ({ size: bytes.length, pieces: [{ offset: 0, bytes }] });

/** Of an image's content: without the label, and the same for holes and for zeros. */
export function imageDigest({ size, pieces }: Pieces): string {
  const hash = createHash("sha1").update(`${size}`);
  for (const { offset, bytes } of pieces) {
    for (let at = 0; at < bytes.length; at += BLOCK) {
      let block = bytes.subarray(at, at + BLOCK);
      if (Buffer.compare(block, ZEROS) === 0) continue;
      if (offset + at === 0) {
        block = new Uint8Array(block); // a copy: the slice of a Buffer is none
        block.fill(0, LABEL_AT, LABEL_AT + LABEL_LENGTH);
      }
      hash.update(`${offset + at} `).update(block);
    }
  }
  return hash.digest("hex");
}

export interface LinuxFile {
  ino: number;
  digest: string;
  content: Pieces;
  /** Of an image. */
  label?: string;
  uuid?: string;
}

/** Files of `cOS` by name; those of `cOS/kept` with that before it. */
export type LinuxFiles = Map<string, LinuxFile>;

const kernel = new LinuxKernel();

/**
 * Files of `cOS` by name, as the kernel sees them once it has replayed the journal; that stays so on the device. The mount is one
 * that only this process sees, and ends with its descriptor.
 */
export async function linuxView(device: string, filesystem: StateFilesystem): Promise<LinuxFiles> {
  const root = await mountWhenFree(device, filesystem);
  try {
    return filesOf(`/proc/self/fd/${root}`);
  } finally {
    kernel.close(root);
  }
}

/** Somebody else who looks for partitions by their labels may have mounted it for a moment. */
async function mountWhenFree(device: string, filesystem: StateFilesystem): Promise<number> {
  for (let left = 200;; left--) {
    try {
      return kernel.mountDetached(filesystem, byteStringOf(device), { readOnly: false, attributes: 0 });
    } catch (thrown) {
      if (left === 0 || !hasErrno(thrown, "EBUSY")) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export function filesOf(state: string): LinuxFiles {
  const files: LinuxFiles = new Map(), seen = new Map<number, LinuxFile>();
  const directory = join(state, "cOS");
  if (!existsSync(directory)) return files;
  const kept = existsSync(join(directory, "kept")) ? readdirSync(join(directory, "kept")) : [];
  const names = readdirSync(directory).filter((name) => name !== "kept");
  for (const name of [...names, ...kept.map((name) => `kept/${name}`)].sort()) {
    const path = join(directory, name), { ino } = lstatSync(path);
    let file = seen.get(ino);
    if (file === undefined) {
      file = name.endsWith(".img") ? imageFile(ino, path) : plainFile(ino, readFileSync(path));
    }
    seen.set(ino, file);
    files.set(name, file);
  }
  return files;
}

function imageFile(ino: number, path: string): LinuxFile {
  const content = readSparse(path), [first] = content.pieces;
  const start = first?.offset === 0 ? first.bytes : new Uint8Array(BLOCK);
  return { ino, content, digest: imageDigest(content), label: labelOf(start), uuid: uuidOf(start) };
}

function plainFile(ino: number, bytes: Uint8Array): LinuxFile {
  return { ino, content: wholeFile(bytes), digest: createHash("sha1").update(bytes).digest("hex") };
}

/** What no extent is for reads as zeros, and is not asked for. */
function readSparse(path: string): Pieces {
  const fd = kernel.openat(AT_FDCWD, byteStringOf(path), O_RDONLY);
  try {
    const { size } = kernel.fstat(fd), ranges: { start: number; end: number }[] = [];
    for (const { offset, length } of extents(kernel, fd)) {
      const start = Math.floor(offset / BLOCK) * BLOCK;
      const end = Math.min(Math.ceil((offset + length) / BLOCK) * BLOCK, size), before = ranges.at(-1);
      if (before !== undefined && start <= before.end) before.end = Math.max(before.end, end);
      else if (start < size) ranges.push({ start, end });
    }
    const pieces = ranges.map(({ start, end }) => {
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length;) {
        const n = kernel.pread(fd, bytes.subarray(at), start + at);
        if (n === 0) break;
        at += n;
      }
      return { offset: start, bytes };
    });
    return { size, pieces };
  } finally {
    kernel.close(fd);
  }
}

function labelOf(bytes: Uint8Array): string {
  const label = bytes.subarray(LABEL_AT, LABEL_AT + LABEL_LENGTH), end = label.indexOf(0);
  return new TextDecoder().decode(label.subarray(0, end < 0 ? LABEL_LENGTH : end));
}

/** Of the ext filesystem in an image. */
export function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(UUID_AT, UUID_AT + UUID_LENGTH)).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
