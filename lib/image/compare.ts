/** Comparing two mounted trees entry by entry, contents included: what differs, and how. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { sameBytes } from "../base/bytes.ts";
import {
  type FileStatus,
  isDirectory,
  isRegular,
  type Kernel,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../system/kernel.ts";

export interface Difference {
  /** Below the tree's top; for people. */
  path: string;
  how: string;
}

export interface Compared {
  /** Entries of the tree that was to be like the other. */
  entries: number;
  /** The first of them. */
  differences: Difference[];
  /** All of them, those that are not listed too. */
  count: number;
}

/** More are counted only. */
const MAX_LISTED = 1000;
/** Bytes of one read. */
const PIECE = 1024 * 1024;
const KINDS: Record<number, string> = {
  [S_IFREG]: "a file",
  [S_IFDIR]: "a directory",
  [S_IFLNK]: "a link",
  [S_IFBLK]: "a block device",
  [S_IFCHR]: "a character device",
  [S_IFIFO]: "a pipe",
  [S_IFSOCK]: "a socket",
};

/**
 * @param found what is looked at, @param wanted what it is to be: descriptors of directories.
 * @param skip entries whose difference is meant. @param passed names of attributes that are not looked at. @param turn is called now and then, so that signals are heard.
 * Throws `SystemCallError`.
 */
export async function compareTrees(
  kernel: Kernel,
  found: number,
  wanted: number,
  skip: (path: string, missing: boolean) => boolean,
  passed: readonly ByteString[],
  turn: () => Promise<void> | void,
): Promise<Compared> {
  const result: Compared = { entries: 0, differences: [], count: 0 };
  const buffers = [new Uint8Array(PIECE), new Uint8Array(PIECE)] as const;
  const differ = (path: ByteString, how: string, missing = false) => {
    const shown = displayName(path) || "/";
    if (skip(shown, missing)) return;
    result.count++;
    if (result.differences.length < MAX_LISTED) result.differences.push({ path: shown, how });
  };

  async function directories(one: number, other: number, path: ByteString): Promise<void> {
    const [names, expected] = [namesIn(kernel, one), namesIn(kernel, other)];
    for (const name of [...new Set([...names, ...expected])].sort()) {
      const below = path === "" ? name : `${path}/${name}`;
      // The filesystem's own, made by mke2fs.
      if (below === "lost+found") continue;
      if (!expected.has(name)) differ(below, "is not in the image");
      else if (!names.has(name)) differ(below, "is missing", true);
      else await entries(one, other, name, below);
    }
  }

  async function entries(one: number, other: number, name: ByteString, path: ByteString): Promise<void> {
    if (result.entries++ % 1024 === 0) await turn();
    const [status, expected] = [kernel.statat(one, name), kernel.statat(other, name)];
    for (const how of statusDifferences(status, expected)) differ(path, how);
    if ((status.mode & S_IFMT) !== (expected.mode & S_IFMT)) return;
    if ((status.mode & S_IFMT) === S_IFLNK) {
      const [target, meant] = [kernel.readlinkat(one, name), kernel.readlinkat(other, name)];
      if (target !== meant) differ(path, `leads to ${displayName(target)}, not ${displayName(meant)}`);
      return;
    }
    if (!isDirectory(status) && !isRegular(status)) return;
    const flags = O_RDONLY | O_NOFOLLOW | (isDirectory(status) ? O_DIRECTORY : 0);
    const fd = kernel.openat(one, name, flags);
    try {
      const meant = kernel.openat(other, name, flags);
      try {
        for (const how of attributeDifferences(kernel, fd, meant, passed)) differ(path, how);
        if (isDirectory(status)) await directories(fd, meant, path);
        else if (status.size === expected.size && !await sameContent(fd, meant)) differ(path, "has another content");
      } finally {
        kernel.close(meant);
      }
    } finally {
      kernel.close(fd);
    }
  }

  async function sameContent(one: number, other: number): Promise<boolean> {
    const [a, b] = buffers;
    for (let offset = 0;; offset += PIECE) {
      const read = kernel.pread(one, a, offset);
      if (read !== kernel.pread(other, b, offset)) return false;
      if (read === 0) return true;
      if (!samePieces(a, b, read)) return false;
      if (offset % (64 * PIECE) === 0) await turn();
      if (read < PIECE) return true;
    }
  }

  for (const how of attributeDifferences(kernel, found, wanted, passed)) differ("", how);
  await directories(found, wanted, "");
  return result;
}

/** Four bytes at a time: a tree has gigabytes. */
function samePieces(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>, length: number): boolean {
  const words = length >>> 2, [one, other] = [new Int32Array(a.buffer, 0, words), new Int32Array(b.buffer, 0, words)];
  for (let i = 0; i < words; i++) if (one[i] !== other[i]) return false;
  return sameBytes(a.subarray(words * 4, length), b.subarray(words * 4, length));
}

function namesIn(kernel: Kernel, directory: number): Set<ByteString> {
  return new Set(kernel.readDirectory(directory).map(({ name }) => name));
}

function* statusDifferences(status: FileStatus, wanted: FileStatus): Generator<string> {
  const type = status.mode & S_IFMT, meant = wanted.mode & S_IFMT;
  if (type !== meant) return yield `is ${KINDS[type] ?? "of an odd kind"}, not ${KINDS[meant] ?? "of an odd kind"}`;
  const [mode, wantedMode] = [status.mode & 0o7777, wanted.mode & 0o7777];
  if (mode !== wantedMode) yield `has the mode ${mode.toString(8)}, not ${wantedMode.toString(8)}`;
  if (status.uid !== wanted.uid || status.gid !== wanted.gid) {
    yield `belongs to ${status.uid}:${status.gid}, not ${wanted.uid}:${wanted.gid}`;
  }
  if (
    (type === S_IFBLK || type === S_IFCHR) &&
    (status.rdevMajor !== wanted.rdevMajor || status.rdevMinor !== wanted.rdevMinor)
  ) {
    yield `is the device ${status.rdevMajor}:${status.rdevMinor}, not ${wanted.rdevMajor}:${wanted.rdevMinor}`;
  }
  if (isRegular(status) && status.size !== wanted.size) yield `has ${status.size} bytes, not ${wanted.size}`;
  if (status.mtime.seconds !== wanted.mtime.seconds || status.mtime.nanoseconds !== wanted.mtime.nanoseconds) {
    yield `was changed at ${timeOf(status)}, not ${timeOf(wanted)}`;
  }
}

function timeOf({ mtime: { seconds } }: FileStatus): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString();
}

function* attributeDifferences(
  kernel: Kernel,
  fd: number,
  wanted: number,
  passed: readonly ByteString[],
): Generator<string> {
  const namesOf = (file: number) => new Set(kernel.listXattrs(file).filter((name) => !passed.includes(name)));
  const [names, expected] = [namesOf(fd), namesOf(wanted)];
  for (const name of [...new Set([...names, ...expected])].sort()) {
    const shown = displayName(name);
    if (!expected.has(name)) yield `has the attribute ${shown}, which is not in the image`;
    else if (!names.has(name)) yield `lacks the attribute ${shown}`;
    else if (!sameBytes(kernel.getXattr(fd, name), kernel.getXattr(wanted, name))) {
      yield `has another value of the attribute ${shown}`;
    }
  }
}
