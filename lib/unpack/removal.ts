/** Taking away what lower layers left: on descriptors, so that no link can lead a removal elsewhere. */
import type { ByteString } from "../base/byte-string.ts";
import {
  type FileStatus,
  hasErrno,
  isDirectory,
  type Kernel,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFLNK,
  S_IFMT,
} from "../system/kernel.ts";
import type { OpenDirectory, TreeRoot } from "../system/tree-root.ts";
import type { Attributes } from "./attributes.ts";
import { type Directories, NO_TIME } from "./directories.ts";
import { broken } from "./errors.ts";
import type { LayerMarks } from "./layer-marks.ts";

/** Deeper trees than links inside the image can build are an attack on whoever removes them. */
const MAX_DEPTH = 1024;

/** The status of what a name stands for, without following it; undefined where there is nothing. */
export function look(kernel: Kernel, parent: OpenDirectory, name: ByteString): FileStatus | undefined {
  try {
    return kernel.statat(parent.fd, name);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
    throw thrown;
  }
}

type Doomed = (parentIno: number, name: ByteString, ino: number) => boolean;

export class Removal {
  readonly #kernel: Kernel;
  readonly #root: TreeRoot;
  readonly #marks: LayerMarks;
  readonly #directories: Directories;
  readonly #attributes: Attributes;
  #pathsChanged = false;

  constructor(kernel: Kernel, root: TreeRoot, marks: LayerMarks, directories: Directories, attributes: Attributes) {
    this.#kernel = kernel;
    this.#root = root;
    this.#marks = marks;
    this.#directories = directories;
    this.#attributes = attributes;
  }

  /** Removes a name with all below it. */
  all(parent: OpenDirectory, name: ByteString): void {
    this.#remove(parent, name, () => true, 0);
    this.#settle();
  }

  /** Removes of a name, and of what is below it, all that came from the layers below. */
  lower(parent: OpenDirectory, name: ByteString): void {
    this.#remove(parent, name, this.#isLower, 0);
    this.#settle();
  }

  /** The same for everything in a directory, which stays. @param spared a name that does. */
  lowerChildren(parent: OpenDirectory, name: ByteString, ino: number, spared?: ByteString): void {
    const fd = this.#kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      for (const child of this.#kernel.readDirectory(fd)) {
        if (child.name !== spared) this.#remove({ fd, ino }, child.name, this.#isLower, 0);
      }
    } finally {
      this.#kernel.close(fd);
    }
    this.#settle();
  }

  readonly #isLower: Doomed = (parent, name, ino) => !this.#marks.isOwn(parent, name, ino);

  /** After a removal: descriptors that were kept by path may lead elsewhere now. None may be in use when this is called. */
  #settle(): void {
    if (this.#pathsChanged) this.#root.forget();
    this.#pathsChanged = false;
  }

  /**
   * Removes a name with all below it for which `doomed` holds; true where nothing is left of it. A directory stays while
   * anything in it does.
   */
  #remove(
    parent: OpenDirectory,
    name: ByteString,
    doomed: Doomed,
    depth: number,
  ): boolean {
    const kernel = this.#kernel;
    if (depth > MAX_DEPTH) throw broken(`a directory to remove is more than ${MAX_DEPTH} levels deep`);
    const status = look(kernel, parent, name);
    if (status === undefined) return true;
    if (!isDirectory(status)) {
      if (!doomed(parent.ino, name, status.ino)) return false;
      kernel.unlinkat(parent.fd, name);
      if ((status.mode & S_IFMT) === S_IFLNK) this.#pathsChanged = true;
      return true;
    }
    const fd = kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    let empty = true;
    try {
      const directory = { fd, ino: status.ino };
      for (const child of kernel.readDirectory(fd)) {
        if (!this.#remove(directory, child.name, doomed, depth + 1)) empty = false;
      }
    } finally {
      kernel.close(fd);
    }
    if (!doomed(parent.ino, name, status.ino)) return false;
    if (!empty) {
      this.#imply(parent, name, status.ino);
      return false;
    }
    kernel.unlinkat(parent.fd, name, true);
    this.#directories.forget(status.ino);
    this.#pathsChanged = true;
    return true;
  }

  /** A hidden directory whose name the layer needs for what it put below: it is one that the layer implies, as if made anew. */
  #imply(parent: OpenDirectory, name: ByteString, ino: number): void {
    const kernel = this.#kernel, fd = kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      this.#attributes.setImplied(fd);
    } finally {
      kernel.close(fd);
    }
    // By the path that it was made by, if it was one of ours.
    this.#directories.remember(ino, { path: this.#directories.get(ino)?.path ?? "", time: NO_TIME });
    this.#marks.add(ino);
  }
}
