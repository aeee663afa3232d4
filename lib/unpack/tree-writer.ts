/**
 * Writes the entries of layers into a tree, as image-spec 1.1, layer.md, asks: each layer over what the ones below left.
 * The tree is mounted where only this process sees it, so nobody can open a file between its making and its last attribute.
 */
import type { ByteString } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
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
import { Directories, NO_TIME } from "./directories.ts";
import { Attributes, DEFAULT_ACL } from "./attributes.ts";
import { broken } from "./errors.ts";
import { explainFailure, quote } from "./failures.ts";
import { look, Removal } from "./removal.ts";
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
/** A layer can hold more that has to be left out than anybody wants to read about: of that kind. */
const MAX_WARNINGS = 20;
interface Open {
  fd: number;
  entry: TarEntry;
  /** As it was made. */
  status: FileStatus;
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
  readonly #attributes: Attributes;
  readonly #removal: Removal;
  /** Names at the top that are not part of any system; removed when the layer's hardlinks are made. */
  readonly #leftovers = new Set<ByteString>();
  #open: Open | undefined;
  #scratch: Uint8Array | undefined;
  #hasMarkers = true;
  #leftWhiteouts = 0;
  entries = 0;

  /** @param rootFd the tree's top directory; stays the caller's. */
  constructor(kernel: Kernel, rootFd: number, options: TreeWriterOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.#root = new TreeRoot(kernel, rootFd, options.openat2);
    this.#acls = new AccessLists(options.warn);
    this.#attributes = new Attributes(kernel, rootFd, options.warn);
    this.#removal = new Removal(kernel, this.#root, this.#marks, this.#directories, this.#attributes);
    // The top exists before any layer says anything of it.
    this.#directories.remember(kernel.fstat(rootFd).ino, { path: "", time: NO_TIME });
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
          if (defaultAcl !== undefined) this.#attributes.setAt(directory, ".", DEFAULT_ACL, defaultAcl);
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
      throw explainFailure(thrown, open.entry.name);
    }
  }

  entryEnd(): void {
    const open = this.#open;
    if (open === undefined) return;
    const { fd, entry, status } = open, { ino } = status, kernel = this.#kernel;
    try {
      if (entry.sparse) {
        kernel.ftruncate(fd, entry.size);
        this.#scratch ??= new Uint8Array(65536);
        this.#options.sums.set(ino, sparseSum(kernel, fd, this.#options.sums.crc32, this.#scratch), true);
      } else this.#options.sums.set(ino, open.sum);
      this.#attributes.set(fd, entry, status);
      kernel.futimens(fd, clamp(entry.mtime));
    } catch (thrown) {
      throw explainFailure(thrown, entry.name);
    } finally {
      this.#open = undefined;
      kernel.close(fd);
    }
  }

  #top(entry: TarEntry): void {
    if (entry.type !== "directory") throw broken(`its top is a ${entry.type}`);
    const { fd } = this.#root, status = this.#kernel.fstat(fd);
    this.#attributes.dropOthers(fd, entry);
    this.#attributes.set(fd, entry, status);
    this.#rememberDirectory(status.ino, "", entry);
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
    return this.#root.make(path, ({ ino }, at) => {
      this.#marks.add(ino);
      this.#directories.remember(ino, { path: at, time: NO_TIME });
    });
  }

  #file(parentPath: ByteString, name: ByteString, entry: TarEntry): void {
    const flags = (entry.sparse ? O_RDWR : O_WRONLY) | O_CREAT | O_EXCL | O_NOFOLLOW;
    // Without the bits that a change of the owner takes away again.
    const mode = entry.mode & 0o777;
    let fd;
    try {
      fd = this.#kernel.openat(this.#parent(parentPath).fd, name, flags, mode);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
      // Never written into: other names may share the old file's content.
      fd = this.#kernel.openat(this.#clear(parentPath, name).fd, name, flags, mode);
    }
    const status = this.#kernel.fstat(fd);
    this.#marks.add(status.ino);
    this.#open = { fd, entry, status, sum: 0 };
  }

  #directory(path: ByteString, parentPath: ByteString, name: ByteString, entry: TarEntry): void {
    const kernel = this.#kernel;
    const mode = entry.mode & 0o777;
    let parent = this.#parent(parentPath), existed = false;
    try {
      kernel.mkdirat(parent.fd, name, mode);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
      const status = kernel.statat(parent.fd, name);
      if (isDirectory(status)) existed = true;
      else {
        if ((status.mode & S_IFMT) === S_IFLNK) this.#keepMerged(path);
        parent = this.#clear(parentPath, name);
        kernel.mkdirat(parent.fd, name, mode);
      }
    }
    const fd = kernel.openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const now = kernel.fstat(fd);
      this.#marks.add(now.ino);
      // The entry describes the directory whole: attributes that only the layers below knew do not stay.
      if (existed) this.#attributes.dropOthers(fd, entry);
      this.#attributes.set(fd, entry, now);
      this.#rememberDirectory(now.ino, path, entry);
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
    for (const [key, value] of entry.xattrs) this.#attributes.setAt(parent, name, key, value);
    kernel.utimensat(parent.fd, name, clamp(entry.mtime));
  }

  /** False where the target does not exist (yet). Links to symlinks are legal, and are not followed. */
  #link(path: ByteString, target: ByteString): boolean {
    const [targetParent, targetName] = splitPath(target), [parentPath, name] = splitPath(path);
    const status = this.#linkTarget(path, targetParent, targetName);
    if (status === undefined) return false;
    const old = look(this.#kernel, this.#parent(parentPath), name);
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
    const status = parent === undefined ? undefined : look(this.#kernel, parent, targetName);
    if (targetName === "" || (status !== undefined && isDirectory(status))) {
      throw broken(`the hardlink ${quote(path)} leads to a directory`);
    }
    return status;
  }

  /** Removes what stands in an entry's way, whole: a later entry wins, whatever layer the old one came from. */
  #clear(parentPath: ByteString, name: ByteString): OpenDirectory {
    this.#removal.all(this.#parent(parentPath), name);
    return this.#parent(parentPath);
  }

  #whiteout(parentPath: ByteString, name: ByteString): void {
    if (!this.#marks.needed) return;
    // A marker below something that is no directory, or is not there, hides nothing.
    const parent = this.#root.find(parentPath);
    if (parent !== undefined) this.#removal.lower(parent, name);
  }

  #opaque(path: ByteString): void {
    if (!this.#marks.needed) return;
    const found = this.#at(path);
    if (found === undefined) return;
    const { parent, name, status } = found;
    if ((status.mode & S_IFMT) === S_IFLNK) return this.#unlinkDirectory(path, found);
    if (!isDirectory(status)) return;
    // At the top one name is the filesystem's own.
    this.#removal.lowerChildren(parent, name, status.ino, path === "" ? "lost+found" : undefined);
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
    this.#removal.all(parent, name);
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

  /** What is at a path, with the directory that it is in. */
  #at(path: ByteString): { parent: OpenDirectory; name: ByteString; status: FileStatus } | undefined {
    const [parentPath, name] = path === "" ? ["", "."] : splitPath(path);
    const parent = this.#root.find(parentPath);
    const status = parent === undefined ? undefined : look(this.#kernel, parent, name);
    return parent === undefined || status === undefined ? undefined : { parent, name, status };
  }

  /** For an attribute whose value was not known before: what took the file's place since does not get it. */
  #setLate(path: ByteString, ino: number, xattr: ByteString, value: Uint8Array): void {
    const found = this.#at(path), last = this.#directories.get(ino);
    if (found === undefined || found.status.ino !== ino) return;
    if (xattr === DEFAULT_ACL && last !== undefined) last.defaultAcl = value;
    else this.#attributes.setAt(found.parent, found.name, xattr, value);
  }

  /** Runs what writes `path`, and says so in the error where it fails. */
  #attempt(path: ByteString, write: () => void): void {
    try {
      write();
    } catch (thrown) {
      throw explainFailure(thrown, path);
    }
  }
}

function clamp(time: Time): Time {
  if (time.seconds < MIN_TIME) return { seconds: MIN_TIME, nanoseconds: 0 };
  if (time.seconds > MAX_TIME) return { seconds: MAX_TIME, nanoseconds: 0 };
  return time;
}
