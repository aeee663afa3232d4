/**
 * The calls to the kernel that this program makes, as one interface: the real one is `LinuxKernel`; tests pass one that
 * fails where they want it to.
 *
 * Every path is a byte string relative to a directory's descriptor, or absolute with `AT_FDCWD`. Every call throws
 * `SystemCallError`. Descriptors are plain numbers and belong to whoever opened them.
 */
import type { ByteString } from "../base/byte-string.ts";
import { SystemCallError } from "../base/errors.ts";

/** True where `thrown` is a failed system call with one of these reasons. */
export function hasErrno(thrown: unknown, ...names: string[]): thrown is SystemCallError {
  return thrown instanceof SystemCallError && names.includes(thrown.errno);
}

/** What `statx(2)` tells. Times are in seconds with the nanoseconds apart; `blocks` are of 512 bytes. */
export interface FileStatus {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  ino: number;
  size: number;
  blocks: number;
  /** The device of the node itself, for character and block devices. */
  rdevMajor: number;
  rdevMinor: number;
  /** The device that holds the file. */
  devMajor: number;
  devMinor: number;
  mtime: Time;
  /** When content or attributes were last changed; nobody can set it. */
  ctime: Time;
}

export interface Time {
  /** Whole seconds since 1970, may be negative. */
  seconds: number;
  /** 0 to 999,999,999. */
  nanoseconds: number;
}

/** What `statfs(2)` tells, in bytes. */
export interface FilesystemStatus {
  /** The magic number, like `EXT4_MAGIC`. */
  type: number;
  free: number;
  /** What a process without privileges may still use. */
  available: number;
  total: number;
  freeInodes: number;
}

export interface DirectoryEntry {
  name: ByteString;
  ino: number;
  /** `DT_*`; 0 where the filesystem does not tell. */
  type: number;
}

export interface MountOptions {
  /** The filesystem, not only this mount of it. */
  readOnly: boolean;
  /** `MOUNT_ATTR_*` of this mount. */
  attributes: number;
}

export interface Kernel {
  openat(dir: number, path: ByteString, flags: number, mode?: number): number;
  openat2(dir: number, path: ByteString, flags: number, mode: number, resolve: number): number;
  close(fd: number): void;
  /** Fewer bytes than the buffer holds mean the end of the file, for regular files. */
  read(fd: number, buffer: Uint8Array): number;
  pread(fd: number, buffer: Uint8Array, offset: number): number;
  /** Writes all of the buffer. */
  write(fd: number, buffer: Uint8Array): void;
  pwrite(fd: number, buffer: Uint8Array, offset: number): void;
  /** The next data or hole at or after `offset`; -1 where there is none. */
  seekData(fd: number, offset: number): number;
  seekHole(fd: number, offset: number): number;
  ftruncate(fd: number, length: number): void;
  /** Frees the blocks of a range, in bytes; it reads as zeros then. */
  punchHole(fd: number, offset: number, length: number): void;
  fsync(fd: number): void;
  fdatasync(fd: number): void;
  syncfs(fd: number): void;
  /** `syncfs` and then `fdatasync` of another file, beside this thread. Only that it failed is known of a failure: EIO. */
  flushBeside(filesystem: number, file: number): Promise<void>;
  /** Memory that begins at a multiple of a page, as reads past the page cache (`O_DIRECT`) want it. */
  alignedBuffer(length: number): Uint8Array;
  /** Drops the file's clean pages from the page cache, so that the next read comes from the disk. */
  dropCache(fd: number): void;
  statat(dir: number, path: ByteString, followLinks?: boolean): FileStatus;
  fstat(fd: number): FileStatus;
  fstatfs(fd: number): FilesystemStatus;
  readDirectory(fd: number): DirectoryEntry[];
  readlinkat(dir: number, path: ByteString): ByteString;
  mkdirat(dir: number, path: ByteString, mode: number): void;
  mknodat(dir: number, path: ByteString, mode: number, major: number, minor: number): void;
  symlinkat(target: ByteString, dir: number, path: ByteString): void;
  linkat(oldDir: number, oldPath: ByteString, newDir: number, newPath: ByteString): void;
  unlinkat(dir: number, path: ByteString, isDirectory?: boolean): void;
  renameat(oldDir: number, oldPath: ByteString, newDir: number, newPath: ByteString): void;
  fchown(fd: number, uid: number, gid: number): void;
  /** Never follows a link in the last place. */
  lchownat(dir: number, path: ByteString, uid: number, gid: number): void;
  fchmod(fd: number, mode: number): void;
  fchmodat(dir: number, path: ByteString, mode: number): void;
  /** Sets access and modification time alike. */
  futimens(fd: number, time: Time): void;
  utimensat(dir: number, path: ByteString, time: Time): void;
  /** None on a filesystem that keeps none, such as a squashfs that was packed from files without any. */
  listXattrs(fd: number): ByteString[];
  listXattrsOf(path: ByteString): ByteString[];
  getXattr(fd: number, name: ByteString): Uint8Array;
  /** By path, links not followed: for nodes that cannot be opened. */
  getXattrOf(path: ByteString, name: ByteString): Uint8Array;
  setXattr(fd: number, name: ByteString, value: Uint8Array): void;
  setXattrOf(path: ByteString, name: ByteString, value: Uint8Array): void;
  removeXattr(fd: number, name: ByteString): void;
  /** `argument` is a number or a structure that the call reads and writes. Returns the call's own result. */
  ioctl(fd: number, request: number, argument: number | Uint8Array): number;
  /** Takes an advisory lock without waiting; false where another process holds one. */
  tryLock(fd: number): boolean;
  /** @param options of the mount that stay: `nosuid`, `nodev`, `noexec`, `noatime`, `nodiratime`, `relatime`; others are ignored. */
  remount(path: ByteString, readOnly: boolean, options: readonly string[]): void;
  /**
   * Mounts a filesystem without a mount point: the descriptor returned is its root directory. Nobody else sees it, and it
   * goes when the last descriptor is closed, whatever ends the process (fsopen(2), Linux 5.2).
   */
  mountDetached(type: string, source: ByteString, options: MountOptions): number;
  /** The same at a place that all see (move_mount(2), Linux 5.2), until somebody unmounts it. */
  mountAt(path: ByteString, type: string, source: ByteString, options: MountOptions): void;
  /**
   * The same tree seen once more, without what is mounted in it: the descriptor is its top, nobody else sees it, and it goes when
   * the last descriptor is closed (open_tree(2), Linux 5.2).
   */
  cloneTree(path: ByteString): number;
  /** From now on the directory is the root of this whole process, and its working directory. */
  chroot(path: ByteString): void;
  /** @param signal its number. */
  kill(pid: number, signal: number): void;
  getuid(): number;
}

export const AT_FDCWD = -100;

// open(2); the values of asm-generic, except for the four that 64-bit Arm has of its own.
const arm = Deno.build.arch === "aarch64";
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DIRECT = arm ? 0o200000 : 0o40000;
export const O_DIRECTORY = arm ? 0o40000 : 0o200000;
export const O_NOFOLLOW = arm ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

// openat2(2)
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_IN_ROOT = 0x10;

// inode(7)
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

// readdir(3)
export const DT_DIR = 4, DT_REG = 8;

// statfs(2)
export const EXT4_MAGIC = 0xef53;
export const XFS_MAGIC = 0x58465342;
export const BTRFS_MAGIC = 0x9123683e;

// fsmount(2)
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;

export function isDirectory(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFDIR;
}

export function isRegular(status: FileStatus): boolean {
  return (status.mode & S_IFMT) === S_IFREG;
}
