/**
 * Writes the entries of layers into a tree, as image-spec 1.1, layer.md, asks: each layer over what the ones below left.
 * The tree is mounted where only this process sees it, so nobody can open a file between its making and its last attribute.
 */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { CosError, SystemCallError } from "../base/errors.ts";
import type { TarEntry, TarSink } from "../formats/tar.ts";
import {
  type FileStatus,
  hasErrno,
  isDirectory,
  type Kernel,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  type Time,
} from "../system/kernel.ts";
import { type ContentSums, sparseSum } from "../system/content-sums.ts";
import { AccessLists } from "./access-lists.ts";
import { DeferredLinks } from "./deferred-links.ts";
import { Directories } from "./directories.ts";
import { broken } from "./errors.ts";
import { LayerMarks } from "./layer-marks.ts";
import { aufsDirectory, cleanPath, markerOf, splitPath } from "./paths.ts";
import { type OpenDirectory, TreeRoot } from "../system/tree-root.ts";

export interface TreeWriterOptions {
  sums: ContentSums;
  /** Called before `bytes` more are written, and before each new node with 0; throws `NO_SPACE` where they will not fit. */
  reserve(bytes: number): void;
  warn(text: string): void;
  /** Whether a layer may put a directory over a link like /lib, as image-spec says, though that hides half of the system. */
  replaceDirectoryLinks?: boolean;
  /** Of all layers together; tests set a smaller bound. */
  maxEntries?: number;
  /** Behave as on kernels without openat2(2), for tests. */
  openat2?: boolean;
}

/** More entries than any system has; a bound for whoever sends an endless archive. */
const MAX_ENTRIES = 5_000_000;
/** ext4 keeps times from 1901 to 2446 (its extra epoch bits). */
const MIN_TIME = -(2 ** 31);
const MAX_TIME = 15032385535;
/** On systems that merged their directories these are links; a layer that brings a directory there hides all that the link led to. */
const MERGED = new Set(["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/sbin", "usr/lib64"]);
/** Deeper trees than links inside the image can build are an attack on whoever removes them. */
const MAX_REMOVAL_DEPTH = 1024;
/** Of xattr(7), for all filesystems; bytes. */
const MAX_XATTR = 65536;
/** A layer can hold more that has to be left out than anybody wants to read about: of each kind. */
const MAX_WARNINGS = 20;
/** What is made in a directory inherits it at once, so it comes last. */
const DEFAULT_ACL = "system.posix_acl_default";

interface Open {
  fd: number;
  entry: TarEntry;
  ino: number;
  sum: number;
}

export class TreeWriter implements TarSink {
  readonly #kernel: Kernel;
  readonly #root: TreeRoot;
  readonly #options: TreeWriterOptions;
  readonly #marks = new LayerMarks();
  readonly #directories = new Directories();
  readonly #deferred = new DeferredLinks();
  readonly #acls: AccessLists;
  /** Names at the top that are not part of any system; removed when the layer's hardlinks are made. */
  readonly #leftovers = new Set<ByteString>();
  #open: Open | undefined;
  #scratch: Uint8Array | undefined;
  #pathsChanged = false;
  #hasMarkers = true;
  #unsettableXattrs = new Set<string>();
  #leftWhiteouts = 0;
  entries = 0;

  /** @param rootFd the tree's top directory; stays the caller's. */
  constructor(kernel: Kernel, rootFd: number, options: TreeWriterOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.#root = new TreeRoot(kernel, rootFd, options.openat2);
    this.#acls = new AccessLists(options.warn);
    // The top exists before any layer says anything of it; where none does, it gets a time that is the same everywhere.
    this.#directories.remember(kernel.fstat(rootFd).ino, { path: "", time: { seconds: 0, nanoseconds: 0 } });
  }

  /** @param hasMarkers false for a directory of this machine: there a name that begins with `.wh.` is one like others. */
  startLayer(index: number, hasMarkers = true): void {
    this.#hasMarkers = hasMarkers;
    this.#marks.startLayer(index);
  }

  /** Must be called behind a layer's last entry. Throws `BROKEN_LAYER`. */
  endLayer(): void {
    for (const [path, target] of this.#deferred.take()) {
      this.#attempt(path, () => {
        if (this.#link(path, target)) return;
        throw broken(`the hardlink ${quote(path)} leads to ${quote(target)}, which does not exist`);
      });
    }
    for (const { path, ino, xattr, value } of this.#acls.take(this.#root)) {
      this.#attempt(path, () => this.#setLate(path, ino, xattr, value));
    }
    for (const name of this.#leftovers) this.#attempt(name, () => this.#clear("", name));
    this.#leftovers.clear();
  }

  /** Must be called once, behind the last layer: sets the directories' times and closes what is open. */
  finish(): void {
    this.#directories.completeAll(
      this.#kernel,
      this.#root,
      (directory, { path, time, defaultAcl }) =>
        this.#attempt(path, () => {
          if (defaultAcl !== undefined) this.#setXattrAt(directory, ".", DEFAULT_ACL, defaultAcl);
          this.#kernel.utimensat(directory.fd, ".", time);
        }),
    );
    this.close();
  }

  /** Closes what is open, also after an error. */
  close(): void {
    if (this.#open !== undefined) this.#kernel.close(this.#open.fd);
    this.#open = undefined;
    this.#root.forget();
  }

  entry(entry: TarEntry): void {
    const most = this.#options.maxEntries ?? MAX_ENTRIES;
    if (++this.entries > most) throw broken(`it has more than ${most} entries`);
    const path = cleanPath(entry.name);
    this.#attempt(path, () => {
      const named = entry.acls === undefined ? [] : this.#acls.prepare(entry, path);
      this.#place(path, entry);
      const made = named.length > 0 ? this.#at(path) : undefined;
      if (made !== undefined) this.#acls.wait(path, made.status.ino, named);
    });
  }

  #place(path: ByteString, entry: TarEntry): void {
    this.#acls.forget(path);
    if (path === "") return this.#top(entry);
    const [parentPath, name] = splitPath(path), marker = this.#hasMarkers ? markerOf(name) : undefined;
    if (marker?.kind === "whiteout") return this.#whiteout(parentPath, marker.name);
    if (marker?.kind === "opaque") return this.#opaque(parentPath);
    if (marker !== undefined) return;
    const leftover = this.#hasMarkers ? aufsDirectory(parentPath) : undefined;
    if (leftover !== undefined) this.#leftovers.add(leftover);
    this.#options.reserve(0);
    this.#deferred.forget(path);
    this.#create(path, parentPath, name, entry);
  }

  data(bytes: Uint8Array, offset: number): void {
    const open = this.#open;
    if (open === undefined) return; // the content of a marker, which has none in an honest archive
    this.#options.reserve(bytes.length);
    try {
      if (open.entry.sparse) this.#kernel.pwrite(open.fd, bytes, offset);
      else {
        this.#kernel.write(open.fd, bytes);
        open.sum = this.#options.sums.crc32(bytes, open.sum);
      }
    } catch (thrown) {
      throw this.#explain(thrown, open.entry.name);
    }
  }

  entryEnd(): void {
    const open = this.#open;
    if (open === undefined) return;
    const { fd, entry, ino } = open, kernel = this.#kernel;
    try {
      if (entry.sparse) {
        kernel.ftruncate(fd, entry.size);
        this.#scratch ??= new Uint8Array(65536);
        this.#options.sums.set(ino, sparseSum(kernel, fd, this.#options.sums.crc32, this.#scratch), true);
      } else this.#options.sums.set(ino, open.sum);
      this.#attributes(fd, entry);
      kernel.futimens(fd, clamp(entry.mtime));
    } catch (thrown) {
      throw this.#explain(thrown, entry.name);
    } finally {
      this.#open = undefined;
      kernel.close(fd);
    }
  }

  #top(entry: TarEntry): void {
    if (entry.type !== "directory") throw broken(`its top is a ${entry.type}`);
    const { fd } = this.#root, { ino } = this.#kernel.fstat(fd);
    this.#dropXattrs(fd, entry);
    this.#attributes(fd, entry);
    this.#rememberDirectory(ino, "", entry);
  }

  #create(path: ByteString, parentPath: ByteString, name: ByteString, entry: TarEntry): void {
    switch (entry.type) {
      case "file":
        return this.#file(parentPath, name, entry);
      case "directory":
        return this.#directory(path, parentPath, name, entry);
      case "hardlink": {
        const target = cleanPath(entry.linkName);
        if (this.#deferred.has(target) || !this.#link(path, target)) this.#deferred.add(path, target);
        return;
      }
      case "symlink":
        return this.#node(parentPath, name, entry, (fd) => {
          if (entry.linkName === "") throw broken(`the link ${quote(path)} leads nowhere`);
          if (entry.linkName.includes("\0")) throw broken(`the target of the link ${quote(path)} holds a NUL byte`);
          this.#kernel.symlinkat(entry.linkName, fd, name);
        });
      case "character":
      case "block":
        // Device 0:0 is how overlayfs stores a whiteout; one that leaked into a layer means nothing on any other filesystem.
        if (entry.type === "character" && entry.major === 0 && entry.minor === 0) {
          if (++this.#leftWhiteouts > MAX_WARNINGS) return;
          return this.#options.warn(
            `Left out ${quote(path)}: it is a whiteout that overlayfs left behind, not a device.`,
          );
        }
        return this.#node(parentPath, name, entry, (fd) => {
          const type = entry.type === "character" ? S_IFCHR : S_IFBLK;
          this.#kernel.mknodat(fd, name, type | entry.mode, entry.major, entry.minor);
        });
      case "fifo":
        return this.#node(parentPath, name, entry, (fd) => {
          this.#kernel.mknodat(fd, name, S_IFIFO | entry.mode, 0, 0);
        });
    }
  }

  #parent(path: ByteString): OpenDirectory {
    return this.#root.make(path, (status) => this.#marks.add(status.ino));
  }

  #file(parentPath: ByteString, name: ByteString, entry: TarEntry): void {
    const flags = (entry.sparse ? O_RDWR : O_WRONLY) | O_CREAT | O_EXCL | O_NOFOLLOW;
    let fd;
    try {
      fd = this.#kernel.openat(this.#parent(parentPath).fd, name, flags, 0o600);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
      // Never written into: other names may share the old file's content.
      fd = this.#kernel.openat(this.#clear(parentPath, name).fd, name, flags, 0o600);
    }
    const { ino } = this.#kernel.fstat(fd);
    this.#marks.add(ino);
    this.#open = { fd, entry, ino, sum: 0 };
  }

  #directory(path: ByteString, parentPath: ByteString, name: ByteString, entry: TarEntry): void {
    const kernel = this.#kernel;
    let parent = this.#parent(parentPath), existed = false;
    try {
      kernel.mkdirat(parent.fd, name, 0o700);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
      const status = kernel.statat(parent.fd, name);
      if (isDirectory(status)) existed = true;
      else {
        if ((status.mode & S_IFMT) === S_IFLNK) this.#keepMerged(path);
        parent = this.#clear(parentPath, name);
        kernel.mkdirat(parent.fd, name, 0o700);
      }
    }
    const fd = kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const { ino } = kernel.fstat(fd);
      this.#marks.add(ino);
      // The entry describes the directory whole: attributes that only the layers below knew do not stay.
      if (existed) this.#dropXattrs(fd, entry);
      this.#attributes(fd, entry);
      this.#rememberDirectory(ino, path, entry);
    } finally {
      kernel.close(fd);
    }
  }

  #rememberDirectory(ino: number, path: ByteString, { mtime, xattrs }: TarEntry): void {
    this.#directories.remember(ino, { path, time: clamp(mtime), defaultAcl: xattrs.get(DEFAULT_ACL) });
  }

  /** Symlinks, devices and pipes: made by `make`, never opened. */
  #node(parentPath: ByteString, name: ByteString, entry: TarEntry, make: (parentFd: number) => void): void {
    const kernel = this.#kernel;
    let parent = this.#parent(parentPath);
    try {
      make(parent.fd);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
      parent = this.#clear(parentPath, name);
      make(parent.fd);
    }
    if (this.#marks.needed) this.#marks.add(kernel.statat(parent.fd, name).ino);
    kernel.lchownat(parent.fd, name, entry.uid, entry.gid);
    if (entry.type !== "symlink") kernel.fchmodat(parent.fd, name, entry.mode);
    for (const [key, value] of entry.xattrs) this.#setXattrAt(parent, name, key, value);
    kernel.utimensat(parent.fd, name, clamp(entry.mtime));
  }

  /** False where the target does not exist (yet). Links to symlinks are legal, and are not followed. */
  #link(path: ByteString, target: ByteString): boolean {
    const [targetParent, targetName] = splitPath(target), [parentPath, name] = splitPath(path);
    const status = this.#linkTarget(path, targetParent, targetName);
    if (status === undefined) return false;
    const old = this.#look(this.#parent(parentPath), name);
    if (old?.ino !== status.ino) {
      if (old !== undefined) this.#clear(parentPath, name);
      // Looked up again: what was cleared, or made a directory on the way, may have held the target.
      if (this.#linkTarget(path, targetParent, targetName)?.ino !== status.ino) return false;
      const from = this.#root.find(targetParent), to = this.#parent(parentPath);
      if (from === undefined) return false;
      this.#kernel.linkat(from.fd, targetName, to.fd, name);
    }
    this.#marks.addLink(this.#parent(parentPath).ino, name, status.ino);
    return true;
  }

  #linkTarget(path: ByteString, targetParent: ByteString, targetName: ByteString): FileStatus | undefined {
    const parent = targetName === "" ? undefined : this.#root.find(targetParent);
    const status = parent === undefined ? undefined : this.#look(parent, targetName);
    if (targetName === "" || (status !== undefined && isDirectory(status))) {
      throw broken(`the hardlink ${quote(path)} leads to a directory`);
    }
    return status;
  }

  /** Removes what stands in an entry's way, whole: a later entry wins, whatever layer the old one came from. */
  #clear(parentPath: ByteString, name: ByteString): OpenDirectory {
    this.#remove(this.#parent(parentPath), name, () => true, 0);
    this.#settle();
    return this.#parent(parentPath);
  }

  #whiteout(parentPath: ByteString, name: ByteString): void {
    if (!this.#marks.needed) return;
    // A marker below something that is no directory, or is not there, hides nothing.
    const parent = this.#root.find(parentPath);
    if (parent !== undefined) this.#remove(parent, name, (dir, n, ino) => !this.#marks.isOwn(dir, n, ino), 0);
    this.#settle();
  }

  #opaque(path: ByteString): void {
    if (!this.#marks.needed) return;
    const found = this.#at(path);
    if (found === undefined) return;
    const { parent, name, status } = found;
    if ((status.mode & S_IFMT) === S_IFLNK) return this.#unlinkDirectory(path, found);
    if (!isDirectory(status)) return;
    const fd = this.#kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const directory = { fd, ino: status.ino };
      for (const child of this.#kernel.readDirectory(fd)) {
        if (path === "" && child.name === "lost+found") continue; // the filesystem's, not a layer's
        this.#remove(directory, child.name, (dir, n, ino) => !this.#marks.isOwn(dir, n, ino), 0);
      }
    } finally {
      this.#kernel.close(fd);
    }
    this.#settle();
  }

  /**
   * An opaque marker over a link of a lower layer: the layer has a directory there, whose entry it left away. The link goes and
   * its target stays as it is (stereoscope#694 cleared the target).
   */
  #unlinkDirectory(
    path: ByteString,
    { parent, name, status }: { parent: OpenDirectory; name: ByteString; status: FileStatus },
  ): void {
    if (this.#marks.isOwn(parent.ino, name, status.ino)) return;
    this.#keepMerged(path);
    this.#kernel.unlinkat(parent.fd, name);
    this.#pathsChanged = true;
    this.#settle();
    this.#parent(path);
  }

  /** Throws `BROKEN_LAYER` where `path` is a link that a merged-usr system cannot do without. */
  #keepMerged(path: ByteString): void {
    if (!MERGED.has(path) || this.#options.replaceDirectoryLinks === true) return;
    throw new CosError("BROKEN_LAYER", `Cannot unpack the layer: it puts a directory over the link /${path}.`, {
      hint:
        "The system below would lose what lies where the link leads: build the layer so that its files lie there too. Where it is meant so, say --replace-links.",
    });
  }

  /** After a removal: descriptors that were kept by path may lead elsewhere now. None may be in use when this is called. */
  #settle(): void {
    if (this.#pathsChanged) this.#root.forget();
    this.#pathsChanged = false;
  }

  /**
   * Removes a name with all below it for which `doomed` holds; true where nothing is left of it. A directory stays while
   * anything in it does. Works on descriptors, so no link can lead it elsewhere.
   */
  #remove(
    parent: OpenDirectory,
    name: ByteString,
    doomed: (parentIno: number, name: ByteString, ino: number) => boolean,
    depth: number,
  ): boolean {
    const kernel = this.#kernel;
    if (depth > MAX_REMOVAL_DEPTH) throw broken(`a directory to remove is more than ${MAX_REMOVAL_DEPTH} levels deep`);
    const status = this.#look(parent, name);
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
      for (const key of kernel.listXattrs(fd)) this.#xattr(key, 0, () => kernel.removeXattr(fd, key));
      kernel.fchown(fd, 0, 0);
      kernel.fchmod(fd, 0o755);
    } finally {
      kernel.close(fd);
    }
    this.#directories.forget(ino);
    this.#marks.add(ino);
  }

  /** What is at a path, with the directory that it is in. */
  #at(path: ByteString): { parent: OpenDirectory; name: ByteString; status: FileStatus } | undefined {
    const [parentPath, name] = path === "" ? ["", "."] : splitPath(path);
    const parent = this.#root.find(parentPath);
    const status = parent === undefined ? undefined : this.#look(parent, name);
    return parent === undefined || status === undefined ? undefined : { parent, name, status };
  }

  #look(parent: OpenDirectory, name: ByteString): FileStatus | undefined {
    try {
      return this.#kernel.statat(parent.fd, name);
    } catch (thrown) {
      if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
      throw thrown;
    }
  }

  /** Owner, then mode (chown clears setuid), then extended attributes (chown and write clear security.capability). */
  #attributes(fd: number, entry: TarEntry): void {
    const kernel = this.#kernel;
    kernel.fchown(fd, entry.uid, entry.gid);
    kernel.fchmod(fd, entry.mode);
    for (const [key, value] of entry.xattrs) {
      if (key === DEFAULT_ACL && entry.type === "directory") continue; // comes last
      this.#xattr(key, value.length, () => kernel.setXattr(fd, key, value));
    }
  }

  /** For an attribute whose value was not known before: what took the file's place since does not get it. */
  #setLate(path: ByteString, ino: number, xattr: ByteString, value: Uint8Array): void {
    const found = this.#at(path), last = this.#directories.get(ino);
    if (found === undefined || found.status.ino !== ino) return;
    if (xattr === DEFAULT_ACL && last !== undefined) last.defaultAcl = value;
    else this.#setXattrAt(found.parent, found.name, xattr, value);
  }

  #dropXattrs(fd: number, entry: TarEntry): void {
    for (const key of this.#kernel.listXattrs(fd)) {
      if (!entry.xattrs.has(key)) this.#xattr(key, 0, () => this.#kernel.removeXattr(fd, key));
    }
  }

  /** There is no call that sets an attribute by directory and name; /proc leads there without a walk. */
  #setXattrAt(parent: OpenDirectory, name: ByteString, key: ByteString, value: Uint8Array): void {
    this.#xattr(key, value.length, () => this.#kernel.setXattrOf(`/proc/self/fd/${parent.fd}/${name}`, key, value));
  }

  #xattr(key: ByteString, length: number, set: () => void): void {
    // What overlayfs noted for itself on the builder's machine would hide files on one where the image is a lower layer.
    if (key.startsWith("trusted.overlay.") || key.startsWith("user.overlay.")) return;
    const tooLarge = () =>
      broken(`the extended attribute ${quote(key)} of ${length} bytes is more than the image's filesystem can keep`);
    if (length > MAX_XATTR) throw tooLarge();
    try {
      set();
    } catch (thrown) {
      // The error of a full filesystem is also that of an inode whose room for attributes is full.
      const full = hasErrno(thrown, "ENOSPC") && this.#kernel.fstatfs(this.#root.fd).available > 2 * MAX_XATTR;
      if (full || hasErrno(thrown, "ERANGE")) throw tooLarge();
      if (!hasErrno(thrown, "EOPNOTSUPP", "EPERM", "EACCES", "EINVAL")) throw thrown;
      const known = this.#unsettableXattrs;
      if (known.has(key) || known.size >= MAX_WARNINGS) return;
      known.add(key);
      this.#options.warn(
        `Left out the extended attribute ${quote(key)}: the image's filesystem does not take it (${thrown.errno}).`,
      );
    }
  }

  /** Runs what writes `path`, and says so in the error where it fails. */
  #attempt(path: ByteString, write: () => void): void {
    try {
      write();
    } catch (thrown) {
      throw this.#explain(thrown, path);
    }
  }

  #explain(thrown: unknown, path: ByteString): unknown {
    if (!(thrown instanceof SystemCallError)) return thrown;
    if (thrown.errno === "ENOSPC" || thrown.errno === "EDQUOT") {
      return new CosError("NO_SPACE", `Cannot write ${quote(path)}: the image's filesystem is full.`, {
        hint: "Give the image more room with --size, or use a smaller one.",
        cause: thrown,
      });
    }
    // Links can lead to names and depths that no entry could have asked for, and sizes are only numbers.
    if (["ENAMETOOLONG", "ELOOP", "EFBIG"].includes(thrown.errno)) {
      return broken(`${quote(path)} cannot be written: ${thrown.call} failed with ${thrown.errno}`, thrown);
    }
    return new CosError("SYSTEM_CALL", `Cannot write ${quote(path)}: ${thrown.call} failed with ${thrown.errno}.`, {
      hint: "Run it again with --debug; if it stays so, look at the kernel's log (dmesg).",
      cause: thrown,
    });
  }
}

function clamp(time: Time): Time {
  if (time.seconds < MIN_TIME) return { seconds: MIN_TIME, nanoseconds: 0 };
  if (time.seconds > MAX_TIME) return { seconds: MAX_TIME, nanoseconds: 0 };
  return time;
}

function quote(name: ByteString): string {
  return JSON.stringify(displayName(name));
}
