/**
 * Directories whose last attributes wait for the end: what is made in a directory changes its time, and inherits its default access
 * list. They are remembered by inode, because the path they were made by may lead elsewhere by then.
 */
import type { ByteString } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { isDirectory, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, type Time } from "../system/kernel.ts";
import type { OpenDirectory, TreeRoot } from "../system/tree-root.ts";
import { broken } from "./errors.ts";

/** Bytes of paths; large systems have a few million. */
const MAX_NAMES = 128 * 1024 * 1024;
/** As deep as links inside the image can build. */
const MAX_DEPTH = 1024;

export interface LastAttributes {
  path: ByteString;
  time: Time;
  defaultAcl?: Uint8Array;
}

/** Of a directory that no layer says anything of: the same everywhere. */
export const NO_TIME: Time = { seconds: 0, nanoseconds: 0 };

/** Sets what waited. */
export type Complete = (directory: OpenDirectory, last: LastAttributes) => void;

export class Directories {
  readonly #byInode = new Map<number, LastAttributes>();
  #names = 0;

  /** Throws `BROKEN_LAYER` for more than memory should hold. */
  remember(ino: number, last: LastAttributes): void {
    this.forget(ino);
    this.#names += last.path.length;
    if (this.#names > MAX_NAMES) throw broken("its directories have too many long names");
    this.#byInode.set(ino, last);
  }

  get(ino: number): LastAttributes | undefined {
    return this.#byInode.get(ino);
  }

  /** Must be called for each directory that goes: the next file made may have its inode's number. */
  forget(ino: number): void {
    this.#names -= this.#byInode.get(ino)?.path.length ?? 0;
    this.#byInode.delete(ino);
  }

  /** Calls `complete` for each that is still there. */
  completeAll(kernel: Kernel, root: TreeRoot, complete: Complete): void {
    const elsewhere = new Map<number, LastAttributes>();
    for (const [ino, last] of this.#byInode) {
      const directory = find(root, last.path);
      if (directory?.ino === ino) complete(directory, last);
      else elsewhere.set(ino, last);
    }
    // A link that a path led through has gone, or leads elsewhere now: the whole tree is searched.
    if (elsewhere.size > 0) search(kernel, root.fd, elsewhere, complete, 0);
  }
}

function find(root: TreeRoot, path: ByteString): OpenDirectory | undefined {
  try {
    return root.find(path);
  } catch (thrown) {
    // Links that came later may lead in circles.
    if (thrown instanceof CosError) return undefined;
    throw thrown;
  }
}

function search(
  kernel: Kernel,
  parent: number,
  wanted: Map<number, LastAttributes>,
  complete: Complete,
  depth: number,
): void {
  if (depth > MAX_DEPTH) throw broken(`a directory is more than ${MAX_DEPTH} levels deep`);
  for (const { name } of kernel.readDirectory(parent)) {
    const status = kernel.statat(parent, name);
    if (!isDirectory(status)) continue;
    const fd = kernel.openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      search(kernel, fd, wanted, complete, depth + 1);
      const last = wanted.get(status.ino);
      if (last !== undefined) complete({ fd, ino: status.ino }, last);
    } finally {
      kernel.close(fd);
    }
  }
}
