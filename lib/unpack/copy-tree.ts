/** A directory of this machine as the source of an image: its tree, entry by entry, through the same writer as layers. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import type { TarEntry, TarEntryType } from "../formats/tar.ts";
import {
  type FileStatus,
  hasErrno,
  isDirectory,
  isRegular,
  type Kernel,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
} from "../system/kernel.ts";
import type { TreeWriter } from "./tree-writer.ts";

/** At the top these are made by whoever runs the system: the directory is copied, nothing in it. */
const LEFT_EMPTY = new Set(["dev", "host", "mnt", "proc", "run", "sys", "tmp"]);
/** One read, in bytes. */
const PIECE = 1024 * 1024;

export interface CopyProgress {
  /** Paths that are left out with all that is in them. */
  leaveOut?: ReadonlySet<ByteString>;
  /** Extended attributes that are left out. */
  leaveOutXattrs?: ReadonlySet<ByteString>;
  /** Nothing is mounted in the tree: an overlay may give each of its files the device of the layer that it lies in. */
  noMounts?: boolean;
  warn(text: string): void;
  /** After each entry; may throw to stop. */
  entry(bytes: number): void | Promise<void>;
}

/** @param root the directory's descriptor; stays the caller's. Stays on its filesystem. */
export async function copyTree(
  kernel: Kernel,
  root: number,
  writer: TreeWriter,
  progress: CopyProgress,
): Promise<void> {
  const device = deviceOf(kernel.fstat(root));
  const { leaveOut, leaveOutXattrs = new Set(), noMounts = false } = progress;
  const buffer = new Uint8Array(PIECE);
  /** First path of each inode that has several, by device and number. */
  const linked = new Map<string, ByteString>();
  const xattrs = (names: readonly ByteString[], get: (name: ByteString) => Uint8Array) =>
    readXattrs(names.filter((name) => !leaveOutXattrs.has(name)), get);

  const content = (fd: number, size: number, sparse: boolean) => {
    for (let at = 0; at < size;) {
      if (sparse) {
        at = kernel.seekData(fd, at);
        if (at < 0) return;
      }
      const end = sparse ? Math.min(kernel.seekHole(fd, at), size) : size;
      while (at < end) {
        const count = kernel.pread(fd, buffer.subarray(0, Math.min(PIECE, end - at)), at);
        if (count === 0) return;
        writer.data(buffer.subarray(0, count), at);
        at += count;
      }
    }
  };

  const visit = async (dir: number, prefix: ByteString) => {
    for (const { name } of kernel.readDirectory(dir)) {
      const path = `${prefix}${name}`;
      if (leaveOut?.has(path)) continue;
      const status = kernel.statat(dir, name), inode = `${deviceOf(status)} ${status.ino}`;
      if (!noMounts && deviceOf(status) !== device) {
        progress.warn(`Left out what is mounted at ${displayName(path)}.`);
        continue;
      }
      const type = typeOf(status);
      if (type === undefined) {
        progress.warn(`Left out ${displayName(path)}: it is a socket.`);
        continue;
      }
      const entry = entryOf(path, type, status);
      const first = type === "directory" || status.nlink === 1 ? undefined : linked.get(inode);
      if (first !== undefined) {
        writer.entry({ ...entry, type: "hardlink", linkName: first, size: 0 });
      } else if (type === "file" || type === "directory") {
        const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW | (type === "directory" ? O_DIRECTORY : 0));
        try {
          entry.xattrs = xattrs(kernel.listXattrs(fd), (key) => kernel.getXattr(fd, key));
          entry.sparse = type === "file" && status.blocks * 512 < status.size;
          writer.entry(entry);
          if (type === "file") content(fd, status.size, entry.sparse);
          writer.entryEnd();
          if (type === "directory" && !(prefix === "" && LEFT_EMPTY.has(name))) await visit(fd, `${path}/`);
        } finally {
          kernel.close(fd);
        }
      } else {
        const there = `/proc/self/fd/${dir}/${name}`;
        entry.xattrs = xattrs(kernel.listXattrsOf(there), (key) => kernel.getXattrOf(there, key));
        if (type === "symlink") entry.linkName = kernel.readlinkat(dir, name);
        writer.entry(entry);
        writer.entryEnd();
      }
      if (first === undefined && type !== "directory" && status.nlink > 1) linked.set(inode, path);
      await progress.entry(entry.size);
    }
  };

  writer.startLayer(0, false);
  const top = entryOf("", "directory", kernel.fstat(root));
  top.xattrs = xattrs(kernel.listXattrs(root), (key) => kernel.getXattr(root, key));
  writer.entry(top);
  await visit(root, "");
  writer.endLayer();
}

function readXattrs(names: readonly ByteString[], get: (name: ByteString) => Uint8Array): Map<ByteString, Uint8Array> {
  const found = new Map<ByteString, Uint8Array>();
  for (const name of names) {
    try {
      found.set(name, get(name));
    } catch (thrown) {
      if (!hasErrno(thrown, "ENODATA", "EOPNOTSUPP", "EPERM", "EACCES")) throw thrown;
    }
  }
  return found;
}

function entryOf(name: ByteString, type: TarEntryType, status: FileStatus): TarEntry {
  return {
    type,
    name,
    linkName: "",
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    size: type === "file" ? status.size : 0,
    mtime: status.mtime,
    major: status.rdevMajor,
    minor: status.rdevMinor,
    xattrs: new Map(),
    sparse: false,
  };
}

function typeOf(status: FileStatus): TarEntryType | undefined {
  if (isRegular(status)) return "file";
  if (isDirectory(status)) return "directory";
  switch (status.mode & S_IFMT) {
    case S_IFLNK:
      return "symlink";
    case S_IFCHR:
      return "character";
    case S_IFBLK:
      return "block";
    case S_IFIFO:
      return "fifo";
    default:
      return undefined;
  }
}

function deviceOf({ devMajor, devMinor }: FileStatus): string {
  return `${devMajor}:${devMinor}`;
}
