/**
 * Directories of a tree that strangers wrote, reached so that nothing leads out of it. A layer can make `var` a link to
 * `/etc` of whoever unpacks, and then write `var/shadow` (CVE-2021-29136 and many after it); so links are followed only
 * within the tree, as a chroot would, mounts are not crossed, and the last part of a path is never followed at all.
 */
import { type ByteString, displayName } from "../base/byte-string.ts";
import {
  type FileStatus,
  hasErrno,
  isDirectory,
  isRegular,
  type Kernel,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_XDEV,
  S_IFLNK,
  S_IFMT,
} from "./kernel.ts";
import { CosError } from "../base/errors.ts";

/** The kernel's own bound (MAXSYMLINKS). */
const MAX_LINKS = 40;
/** Directories kept open: archives go depth first, so a few are asked for again and again. */
const CACHED = 32;
/** Deeper than any system, and than what entries may ask for: only links that lead to links that lead deep get there. */
const MAX_DEPTH = 512;
/** A ".." is only resolved where nothing on the whole machine was renamed or mounted meanwhile: on a busy one, ask again. */
const TRIES = 1000;

export interface OpenDirectory {
  /** Opened with `O_PATH`; belongs to the root, and is valid until `forget`, or until many others were asked for. */
  fd: number;
  ino: number;
}

/**
 * Told of each directory that had to be made because an archive left its entry away. @param path which leads there, or to where one
 * must look for it.
 */
export type ImpliedDirectory = (status: FileStatus, path: ByteString) => void;

export class TreeRoot {
  readonly fd: number;
  readonly #kernel: Kernel;
  readonly #device: string;
  readonly #cache = new Map<ByteString, OpenDirectory>();
  #hasOpenat2: boolean;
  #ino: number;

  /**
   * @param fd the tree's top directory; stays the caller's.
   * @param openat2 false behaves as on kernels before 5.6, for tests.
   */
  constructor(kernel: Kernel, fd: number, openat2 = true) {
    this.#kernel = kernel;
    this.fd = fd;
    this.#hasOpenat2 = openat2;
    const status = kernel.fstat(fd);
    this.#ino = status.ino;
    this.#device = device(status);
  }

  /** The directory at `path` (clean, see `cleanPath`), made where it is missing. Throws `BROKEN_LAYER`, `SystemCallError`. */
  make(path: ByteString, implied: ImpliedDirectory): OpenDirectory {
    if (path === "") return { fd: this.fd, ino: this.#ino };
    return this.#cached(path) ?? this.#remember(path, this.#open(path) ?? this.#walk(path, implied));
  }

  /** The directory at `path`, or undefined where there is none. */
  find(path: ByteString): OpenDirectory | undefined {
    if (path === "") return { fd: this.fd, ino: this.#ino };
    const cached = this.#cached(path);
    if (cached !== undefined) return cached;
    const fd = this.#open(path) ?? (this.#hasOpenat2 ? undefined : this.#walk(path, undefined));
    return fd === undefined ? undefined : this.#remember(path, fd);
  }

  /**
   * The regular file at `path`, links followed within the tree, opened for reading; undefined where there is none. The
   * descriptor is the caller's.
   */
  openFile(path: ByteString): number | undefined {
    for (let links = 0; links <= MAX_LINKS; links++) {
      const slash = path.lastIndexOf("/"), name = path.slice(slash + 1);
      const parent = this.find(path.slice(0, Math.max(slash, 0)));
      const status = parent === undefined || name === "" ? undefined : this.#look(parent.fd, name);
      if (parent === undefined || status === undefined) return undefined;
      if (isRegular(status)) return this.#kernel.openat(parent.fd, name, O_RDONLY | O_NOFOLLOW);
      if ((status.mode & S_IFMT) !== S_IFLNK) return undefined;
      const target = this.#kernel.readlinkat(parent.fd, name);
      path = target.startsWith("/") ? target.replace(/^\/+/, "") : `${path.slice(0, slash + 1)}${target}`;
    }
    throw broken(`the path ${displayName(path)} goes through too many links`);
  }

  /** Bytes of the regular file at `path`, links followed within the tree; undefined where there is none. */
  sizeOf(path: ByteString): number | undefined {
    const fd = this.openFile(path);
    if (fd === undefined) return undefined;
    try {
      return this.#kernel.fstat(fd).size;
    } finally {
      this.#kernel.close(fd);
    }
  }

  /** The content of a small file, links followed within the tree; undefined where there is none, or it is longer than `most`. */
  readFile(path: ByteString, most = 1024 * 1024): Uint8Array | undefined {
    const fd = this.openFile(path);
    if (fd === undefined) return undefined;
    try {
      const { size } = this.#kernel.fstat(fd);
      if (size > most) return undefined;
      const bytes = new Uint8Array(size);
      return bytes.subarray(0, this.#kernel.read(fd, bytes));
    } finally {
      this.#kernel.close(fd);
    }
  }

  /** Must be called when a directory or a link has gone: paths that led through it may lead elsewhere now. Closes all. */
  forget(): void {
    for (const { fd } of this.#cache.values()) this.#kernel.close(fd);
    this.#cache.clear();
  }

  /** Most recently used last, so that what a caller just got is never what makes room for the next. */
  #cached(path: ByteString): OpenDirectory | undefined {
    const cached = this.#cache.get(path);
    if (cached === undefined) return undefined;
    this.#cache.delete(path);
    this.#cache.set(path, cached);
    return cached;
  }

  #remember(path: ByteString, fd: number | undefined): OpenDirectory {
    if (fd === undefined) throw broken(`the directory ${displayName(path)} cannot be made`);
    const directory = { fd, ino: this.#kernel.fstat(fd).ino };
    this.#cache.set(path, directory);
    if (this.#cache.size > CACHED) {
      for (const [oldest, { fd }] of this.#cache) {
        this.#kernel.close(fd);
        this.#cache.delete(oldest);
        break;
      }
    }
    return directory;
  }

  /** One call to the kernel, where it knows it; undefined where there is no such directory. */
  #open(path: ByteString): number | undefined {
    if (!this.#hasOpenat2) return undefined;
    const how = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    for (let tries = 1;; tries++) {
      try {
        return this.#kernel.openat2(this.fd, path, O_PATH | O_DIRECTORY, 0, how);
      } catch (thrown) {
        if (hasErrno(thrown, "EAGAIN") && tries < TRIES) continue;
        if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
        // Before Linux 5.6 there is no such call, and some container runtimes forbid what they do not know.
        if (hasErrno(thrown, "ENOSYS", "EPERM")) {
          this.#hasOpenat2 = false;
          return undefined;
        }
        if (hasErrno(thrown, "ELOOP")) throw broken(`the path ${displayName(path)} goes through too many links`);
        if (hasErrno(thrown, "EXDEV")) throw broken(`the path ${displayName(path)} leads out of the image`);
        throw thrown;
      }
    }
  }

  /**
   * Part by part, links resolved here. With `implied`, what is missing is made, and what is no directory is replaced by one;
   * without, undefined is returned. Nobody else writes to the tree, so what was looked at cannot change before it is used.
   */
  #walk(path: ByteString, implied: ImpliedDirectory | undefined): number | undefined {
    const kernel = this.#kernel;
    const parts = path.split("/"), pending = parts.toReversed();
    const stack: number[] = [];
    const close = () => stack.splice(0).forEach((fd) => kernel.close(fd));
    let links = 0;
    try {
      for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
        if (part === "" || part === ".") continue;
        const parent = stack.at(-1) ?? this.fd;
        if (part === "..") {
          const fd = stack.pop();
          if (fd !== undefined) kernel.close(fd);
          continue;
        }
        const found = this.#look(parent, part);
        if (found !== undefined && (found.mode & S_IFMT) === S_IFLNK) {
          if (++links > MAX_LINKS) throw broken(`the path ${displayName(path)} goes through too many links`);
          const target = kernel.readlinkat(parent, part);
          if (target.startsWith("/")) close();
          pending.push(...target.split("/").reverse());
          continue;
        }
        if (found === undefined || !isDirectory(found)) {
          if (implied === undefined) return undefined;
          if (found !== undefined) kernel.unlinkat(parent, part);
          kernel.mkdirat(parent, part, 0o755);
          // A parent with the setgid bit gives its group and the bit on, and the caller's umask takes bits away.
          kernel.lchownat(parent, part, 0, 0);
          kernel.fchmodat(parent, part, 0o755);
          // Short of it while the parts are those of a link's target.
          implied(kernel.statat(parent, part), parts.slice(0, Math.max(parts.length - pending.length, 0)).join("/"));
        } else if (device(found) !== this.#device) throw broken(`the path ${displayName(path)} leads out of the image`);
        if (stack.length === MAX_DEPTH) throw broken(`the path ${displayName(path)} leads to a place too deep`);
        stack.push(kernel.openat(parent, part, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      }
      const last = stack.pop();
      // A path that leads back to the top by `..` and links is the top: the caller gets a descriptor of its own.
      return last ?? kernel.openat(this.fd, ".", O_PATH | O_DIRECTORY);
    } finally {
      close();
    }
  }

  #look(parent: number, name: ByteString): FileStatus | undefined {
    try {
      return this.#kernel.statat(parent, name);
    } catch (thrown) {
      if (hasErrno(thrown, "ENOENT")) return undefined;
      throw thrown;
    }
  }
}

function broken(what: string): CosError {
  return new CosError("BROKEN_LAYER", `Cannot follow a path in the image: ${what}.`, {
    hint: "The image was built wrongly: build it again, or ask whoever publishes it.",
  });
}

function device(status: FileStatus): string {
  return `${status.devMajor}:${status.devMinor}`;
}
