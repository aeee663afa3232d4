/** Making the filesystem image that a new system is written into. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { hasErrno, type Kernel, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";
import { extents } from "../system/extents.ts";
import { mustRun } from "../system/process.ts";
import type { System } from "../system/system.ts";

export interface ImageFile extends Disposable {
  /** Opened for reading and writing. */
  fd: number;
  /** The filesystem's own UUID: each image has one, so that a boot loader can say which it took the kernel from. */
  uuid: string;
}

/**
 * Bytes a file that an inode is made for. Images hold about one file for every 30 KiB; a quarter of that leaves room for trees
 * of small files, and a table that is never written costs nothing in a sparse file.
 */
const BYTES_PER_INODE = 8192;

/**
 * ext2 without a journal and without checksums: it is mounted read-only for all its life, every GRUB and every kernel reads it,
 * and its label can be changed by one write. `none` first, since the machine's mke2fs.conf must not decide.
 */
const FEATURES = "none,filetype,extent,sparse_super,large_file,ext_attr,dir_index";

/**
 * A sparse file with an empty filesystem of `size` bytes. The name must be free.
 * Throws `TOOL_MISSING`, `TOOL_FAILED`, `SystemCallError`.
 */
export async function makeImage(
  system: Pick<System, "kernel" | "programs" | "pid">,
  dir: number,
  path: ByteString,
  { size, label, uuid }: { size: number; label: string; uuid: string },
): Promise<ImageFile> {
  const { kernel } = system;
  const fd = kernel.openat(dir, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
  try {
    kernel.ftruncate(fd, size);
    // The file by this process's descriptor: the mount that it lies in may be one that nobody else sees.
    const args = ["-q", "-F", "-t", "ext2", "-b", "4096", "-I", "256", "-i", String(BYTES_PER_INODE), "-m", "0"];
    args.push("-O", FEATURES, "-L", label, "-U", uuid, `/proc/${system.pid}/fd/${fd}`);
    await mustRun(system.programs, "mke2fs", args, "make the image's filesystem");
    // mke2fs zeroes some ranges by marking them as unwritten, and GRUB does not know that mark: as holes they read the same.
    for (const { offset, length, written } of [...extents(kernel, fd)]) {
      if (!written) emptyRange(kernel, fd, offset, length);
    }
  } catch (thrown) {
    kernel.close(fd);
    throw thrown;
  }
  return { fd, uuid, [Symbol.dispose]: () => kernel.close(fd) };
}

function emptyRange(kernel: Kernel, fd: number, offset: number, length: number): void {
  try {
    kernel.punchHole(fd, offset, length);
  } catch (thrown) {
    // Not every filesystem can; zeros that are written read the same.
    if (!hasErrno(thrown, "EOPNOTSUPP")) throw thrown;
    const zeros = new Uint8Array(1024 * 1024);
    for (let at = 0; at < length; at += zeros.length) {
      kernel.pwrite(fd, zeros.subarray(0, Math.min(zeros.length, length - at)), offset + at);
    }
  }
}

/**
 * The nominal size of an image: nothing is allocated for it before it is used, so it is generous; but it must not promise more
 * than the partition could ever hold.
 * @param wanted the setting, in bytes. @param compressed what the manifest announces. @param available free space in bytes.
 */
export function nominalSize(wanted: number, compressed: number, available: number): number {
  // Layers of system images inflate to two to three times their size; a filesystem needs its own tables besides.
  const generous = Math.max(wanted, compressed * 6);
  const block = 4096;
  return Math.max(Math.floor(Math.min(generous, available) / block) * block, 0);
}

/**
 * Keeps an eye on the partition while the image is being filled. A full partition would make writes of the loop device fail
 * behind the filesystem's back, so the run must stop before.
 */
export class SpaceWatch {
  readonly #kernel: Kernel;
  readonly #dir: number;
  readonly #image: number;
  readonly #name: string;
  #written = 0;
  #nextLook = 0;

  constructor(kernel: Kernel, dir: number, image: number, partition: string) {
    this.#kernel = kernel;
    this.#dir = dir;
    this.#image = image;
    this.#name = partition;
  }

  /** Throws `NO_SPACE` where `bytes` more, with all that is not yet on the disk, would not leave the reserve. */
  reserve(bytes: number): void {
    this.#written += bytes === 0 ? NODE : bytes;
    if (this.#written < this.#nextLook) return;
    this.#nextLook = this.#written + LOOK_EVERY;
    const free = this.#kernel.fstatfs(this.#dir).available;
    const onDisk = this.#kernel.fstat(this.#image).blocks * 512;
    const outstanding = Math.max(this.#written - onDisk, 0);
    if (free - outstanding >= RESERVE + LOOK_EVERY) return;
    throw noSpace(this.#name, this.#written + RESERVE + LOOK_EVERY, free + onDisk, "at least ");
  }
}

/** What a node without content costs at the most: an inode, its part of a directory, a block for attributes. */
const NODE = 1024;
const LOOK_EVERY = 8 * 1024 * 1024;
/** Left for the record, the directory and the journal. */
export const RESERVE = 16 * 1024 * 1024;

/** The one message for a partition that is too small, with its figures in bytes. */
export function noSpace(partition: string, needed: number, free: number, qualifier: string): CosError {
  const mib = (bytes: number) => Math.ceil(bytes / 1024 / 1024);
  return new CosError(
    "NO_SPACE",
    `Not enough space on ${displayName(partition)}: the new image needs ${qualifier}${mib(needed)} MiB and ${
      Math.floor(free / 1024 / 1024)
    } MiB are free.`,
    {
      hint: "Remove what else lies on that partition, or use a smaller image.",
      details: { needed, free, partition },
    },
  );
}
