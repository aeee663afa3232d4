/** The kernel of this machine, through the C library by Deno's foreign function interface. */
import { type ByteString, byteString, displayName, writeBytes } from "../base/byte-string.ts";
import { SystemCallError } from "../base/errors.ts";
import { errnoName } from "./errno.ts";
import {
  AT_FDCWD,
  type DirectoryEntry,
  type FileStatus,
  type FilesystemStatus,
  type Kernel,
  MOUNT_ATTR_RDONLY,
  type MountOptions,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  type Time,
} from "./kernel.ts";

// `openat2`, `fsopen` and their like have no wrapper in older C libraries: they go through `syscall(2)`. The numbers are the
// same on all architectures, as for all calls since Linux 5.1 (and 437 as well).
const NR_open_tree = 428n,
  NR_move_mount = 429n,
  NR_fsopen = 430n,
  NR_fsconfig = 431n,
  NR_fsmount = 432n,
  NR_openat2 = 437n;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const FSOPEN_CLOEXEC = 1, FSMOUNT_CLOEXEC = 1, OPEN_TREE_CLONE = 1;
const FSCONFIG_SET_FLAG = 0, FSCONFIG_SET_STRING = 1, FSCONFIG_CMD_CREATE = 6;
const AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const SEEK_DATA = 3, SEEK_HOLE = 4;
const FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2;
const LOCK_EX = 2, LOCK_NB = 4;
const MS_RDONLY = 1, MS_REMOUNT = 32;
const MS_FLAGS: Record<string, number> = {
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  noatime: 1024,
  nodiratime: 2048,
  relatime: 1 << 21,
};
const POSIX_FADV_DONTNEED = 4;
/** At least what any disk's blocks want to be aligned to. */
const PAGE = 4096;
/** PATH_MAX of the kernel, its final NUL included. */
const PATH_MAX = 4096;

// Counts of bytes are declared as `i32`: all buffers here are smaller than 2 GiB, and Deno would make a BigInt of an `isize`.
const SYMBOLS = {
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  fsync: { parameters: ["i32"], result: "i32" },
  fdatasync: { parameters: ["i32"], result: "i32" },
  syncfs: { parameters: ["i32"], result: "i32" },
  syncfsBeside: { name: "syncfs", parameters: ["i32"], result: "i32", nonblocking: true },
  fdatasyncBeside: { name: "fdatasync", parameters: ["i32"], result: "i32", nonblocking: true },
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  fstatfs: { parameters: ["i32", "buffer"], result: "i32" },
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "i32" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  mknodat: { parameters: ["i32", "buffer", "u32", "u64"], result: "i32" },
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" },
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  renameat: { parameters: ["i32", "buffer", "i32", "buffer"], result: "i32" },
  fchown: { parameters: ["i32", "u32", "u32"], result: "i32" },
  fchownat: { parameters: ["i32", "buffer", "u32", "u32", "i32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fchmodat: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  futimens: { parameters: ["i32", "buffer"], result: "i32" },
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  flistxattr: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  llistxattr: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  fgetxattr: { parameters: ["i32", "buffer", "buffer", "usize"], result: "i32" },
  lgetxattr: { parameters: ["buffer", "buffer", "buffer", "usize"], result: "i32" },
  fsetxattr: { parameters: ["i32", "buffer", "buffer", "usize", "i32"], result: "i32" },
  lsetxattr: { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" },
  fremovexattr: { parameters: ["i32", "buffer"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  ioctlNumber: { name: "ioctl", parameters: ["i32", "u64", "u64"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  getuid: { parameters: [], result: "u32" },
  chroot: { parameters: ["buffer"], result: "i32" },
  chdir: { parameters: ["buffer"], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  openTree: { name: "syscall", parameters: ["i64", "i32", "buffer", "u32"], result: "i32" },
  openat2: { name: "syscall", parameters: ["i64", "i32", "buffer", "buffer", "i64"], result: "i32" },
  fsopen: { name: "syscall", parameters: ["i64", "buffer", "u32"], result: "i32" },
  fsconfig: { name: "syscall", parameters: ["i64", "i32", "u32", "buffer", "buffer", "i32"], result: "i32" },
  moveMount: {
    name: "syscall",
    parameters: ["i64", "i32", "buffer", "i32", "buffer", "u32"],
    result: "i32",
  },
  fsmount: { name: "syscall", parameters: ["i64", "i32", "u32", "u32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Calls = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

export class LinuxKernel implements Kernel {
  readonly #c: Calls;
  // The caller's thread never changes, so its errno has one address for the life of the process.
  readonly #errno: Deno.UnsafePointerView;
  // Scratch for names and structures: every call here is synchronous, so one of each is enough, and none is allocated a call.
  readonly #pathA = new Uint8Array(PATH_MAX + 1);
  readonly #pathB = new Uint8Array(PATH_MAX + 1);
  readonly #structure = new Uint8Array(256);
  readonly #view = new DataView(this.#structure.buffer);
  readonly #list = new Uint8Array(65536);
  readonly #listView = new DataView(this.#list.buffer);

  constructor() {
    this.#c = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
    const location = this.#c.__errno_location();
    if (location === null) throw new Error("the C library has no errno");
    this.#errno = new Deno.UnsafePointerView(location);
    // Modes are set as the archive has them; a mask inherited from the caller's shell must not take bits away.
    this.#c.umask(0);
  }

  openat(dir: number, path: ByteString, flags: number, mode = 0): number {
    return this.#check(this.#c.openat(dir, this.#a(path), flags | O_CLOEXEC, mode), "openat", path);
  }

  openat2(dir: number, path: ByteString, flags: number, mode: number, resolve: number): number {
    // struct open_how: three 64-bit words.
    this.#view.setBigUint64(0, BigInt(flags | O_CLOEXEC), true);
    this.#view.setBigUint64(8, BigInt(mode), true);
    this.#view.setBigUint64(16, BigInt(resolve), true);
    return this.#check(this.#c.openat2(NR_openat2, dir, this.#a(path), this.#structure, 24n), "openat2", path);
  }

  close(fd: number): void {
    // Linux frees the descriptor even where close(2) reports an error; errors of writing are asked for by fsync before.
    this.#c.close(fd);
  }

  read(fd: number, buffer: Uint8Array): number {
    let done = 0;
    while (done < buffer.length) {
      const part = done === 0 ? buffer : buffer.subarray(done);
      const count = this.#check(this.#c.read(fd, part as Uint8Array<ArrayBuffer>, BigInt(part.length)), "read", fd);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  pread(fd: number, buffer: Uint8Array, offset: number): number {
    let done = 0;
    while (done < buffer.length) {
      const part = done === 0 ? buffer : buffer.subarray(done);
      const count = this.#check(
        this.#c.pread(fd, part as Uint8Array<ArrayBuffer>, BigInt(part.length), BigInt(offset + done)),
        "pread",
        fd,
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(fd: number, buffer: Uint8Array): void {
    let done = 0;
    while (done < buffer.length) {
      const part = done === 0 ? buffer : buffer.subarray(done);
      done += this.#check(this.#c.write(fd, part as Uint8Array<ArrayBuffer>, BigInt(part.length)), "write", fd);
    }
  }

  pwrite(fd: number, buffer: Uint8Array, offset: number): void {
    let done = 0;
    while (done < buffer.length) {
      const part = done === 0 ? buffer : buffer.subarray(done);
      done += this.#check(
        this.#c.pwrite(fd, part as Uint8Array<ArrayBuffer>, BigInt(part.length), BigInt(offset + done)),
        "pwrite",
        fd,
      );
    }
  }

  seekData(fd: number, offset: number): number {
    return this.#seek(fd, offset, SEEK_DATA);
  }

  seekHole(fd: number, offset: number): number {
    return this.#seek(fd, offset, SEEK_HOLE);
  }

  #seek(fd: number, offset: number, whence: number): number {
    const at = Number(this.#c.lseek(fd, BigInt(offset), whence));
    if (at >= 0) return at;
    const reason = this.#reason();
    if (reason === "ENXIO") return -1;
    throw new SystemCallError(reason, "lseek", String(fd));
  }

  ftruncate(fd: number, length: number): void {
    this.#check(this.#c.ftruncate(fd, BigInt(length)), "ftruncate", fd);
  }

  punchHole(fd: number, offset: number, length: number): void {
    const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
    this.#check(this.#c.fallocate(fd, mode, BigInt(offset), BigInt(length)), "fallocate", fd);
  }

  fsync(fd: number): void {
    this.#check(this.#c.fsync(fd), "fsync", fd);
  }

  fdatasync(fd: number): void {
    this.#check(this.#c.fdatasync(fd), "fdatasync", fd);
  }

  syncfs(fd: number): void {
    this.#check(this.#c.syncfs(fd), "syncfs", fd);
  }

  async flushBeside(filesystem: number, file: number): Promise<void> {
    // errno belongs to the thread that made the call, which nobody can ask.
    if (await this.#c.syncfsBeside(filesystem) < 0) throw new SystemCallError("EIO", "syncfs", String(filesystem));
    if (await this.#c.fdatasyncBeside(file) < 0) throw new SystemCallError("EIO", "fdatasync", String(file));
  }

  alignedBuffer(length: number): Uint8Array {
    const buffer = new Uint8Array(length + PAGE);
    const beyond = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)) % BigInt(PAGE));
    return buffer.subarray((PAGE - beyond) % PAGE).subarray(0, length);
  }

  dropCache(fd: number): void {
    // posix_fadvise returns the error number itself.
    const error = this.#c.posix_fadvise(fd, 0n, 0n, POSIX_FADV_DONTNEED);
    if (error !== 0) throw new SystemCallError(errnoName(error), "posix_fadvise", String(fd));
  }

  statat(dir: number, path: ByteString, followLinks = false): FileStatus {
    const flags = followLinks ? 0 : AT_SYMLINK_NOFOLLOW;
    this.#check(this.#c.statx(dir, this.#a(path), flags, STATX_BASIC_STATS, this.#structure), "statx", path);
    return this.#status();
  }

  fstat(fd: number): FileStatus {
    this.#check(this.#c.statx(fd, this.#a(""), AT_EMPTY_PATH, STATX_BASIC_STATS, this.#structure), "statx", fd);
    return this.#status();
  }

  /** struct statx has one layout on all architectures. */
  #status(): FileStatus {
    const view = this.#view;
    return {
      nlink: view.getUint32(16, true),
      uid: view.getUint32(20, true),
      gid: view.getUint32(24, true),
      mode: view.getUint16(28, true),
      ino: u64(view, 32),
      size: u64(view, 40),
      blocks: u64(view, 48),
      mtime: { seconds: Number(view.getBigInt64(112, true)), nanoseconds: view.getUint32(120, true) },
      ctime: { seconds: Number(view.getBigInt64(96, true)), nanoseconds: view.getUint32(104, true) },
      rdevMajor: view.getUint32(128, true),
      rdevMinor: view.getUint32(132, true),
      devMajor: view.getUint32(136, true),
      devMinor: view.getUint32(140, true),
    };
  }

  fstatfs(fd: number): FilesystemStatus {
    this.#check(this.#c.fstatfs(fd, this.#structure), "fstatfs", fd);
    // struct statfs of 64-bit systems: f_type, f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, …
    const view = this.#view, blockSize = u64(view, 8);
    return {
      type: view.getUint32(0, true),
      total: u64(view, 16) * blockSize,
      free: u64(view, 24) * blockSize,
      available: u64(view, 32) * blockSize,
      freeInodes: u64(view, 48),
    };
  }

  readDirectory(fd: number): DirectoryEntry[] {
    const entries: DirectoryEntry[] = [];
    for (;;) {
      const length = this.#check(this.#c.getdents64(fd, this.#list, BigInt(this.#list.length)), "getdents64", fd);
      if (length === 0) return entries;
      // struct linux_dirent64: u64 ino, i64 offset, u16 length, u8 type, name with its NUL.
      for (let at = 0; at < length;) {
        const size = this.#listView.getUint16(at + 16, true);
        const name = byteString(this.#list, at + 19, this.#list.indexOf(0, at + 19));
        if (name !== "." && name !== "..") {
          entries.push({ name, ino: u64(this.#listView, at), type: this.#list[at + 18] ?? 0 });
        }
        at += size;
      }
    }
  }

  readlinkat(dir: number, path: ByteString): ByteString {
    const length = this.#check(
      this.#c.readlinkat(dir, this.#a(path), this.#pathB, BigInt(this.#pathB.length)),
      "readlinkat",
      path,
    );
    return byteString(this.#pathB, 0, length);
  }

  mkdirat(dir: number, path: ByteString, mode: number): void {
    this.#check(this.#c.mkdirat(dir, this.#a(path), mode), "mkdirat", path);
  }

  mknodat(dir: number, path: ByteString, mode: number, major: number, minor: number): void {
    // gnu_dev_makedev: 12 bits of the major and 20 of the minor number, spread as glibc spreads them.
    const device = (BigInt(major & 0xfffff000) << 32n) | (BigInt(major & 0xfff) << 8n) |
      (BigInt(minor & 0xffffff00) << 12n) | BigInt(minor & 0xff);
    this.#check(this.#c.mknodat(dir, this.#a(path), mode, device), "mknodat", path);
  }

  symlinkat(target: ByteString, dir: number, path: ByteString): void {
    this.#check(this.#c.symlinkat(this.#b(target), dir, this.#a(path)), "symlinkat", path);
  }

  linkat(oldDir: number, oldPath: ByteString, newDir: number, newPath: ByteString): void {
    this.#check(this.#c.linkat(oldDir, this.#a(oldPath), newDir, this.#b(newPath), 0), "linkat", newPath);
  }

  unlinkat(dir: number, path: ByteString, isDirectory = false): void {
    this.#check(this.#c.unlinkat(dir, this.#a(path), isDirectory ? AT_REMOVEDIR : 0), "unlinkat", path);
  }

  renameat(oldDir: number, oldPath: ByteString, newDir: number, newPath: ByteString): void {
    this.#check(this.#c.renameat(oldDir, this.#a(oldPath), newDir, this.#b(newPath)), "renameat", newPath);
  }

  fchown(fd: number, uid: number, gid: number): void {
    this.#check(this.#c.fchown(fd, uid, gid), "fchown", fd);
  }

  lchownat(dir: number, path: ByteString, uid: number, gid: number): void {
    this.#check(this.#c.fchownat(dir, this.#a(path), uid, gid, AT_SYMLINK_NOFOLLOW), "fchownat", path);
  }

  fchmod(fd: number, mode: number): void {
    this.#check(this.#c.fchmod(fd, mode), "fchmod", fd);
  }

  fchmodat(dir: number, path: ByteString, mode: number): void {
    this.#check(this.#c.fchmodat(dir, this.#a(path), mode, 0), "fchmodat", path);
  }

  futimens(fd: number, time: Time): void {
    this.#times(time);
    this.#check(this.#c.futimens(fd, this.#structure), "futimens", fd);
  }

  utimensat(dir: number, path: ByteString, time: Time): void {
    this.#times(time);
    this.#check(this.#c.utimensat(dir, this.#a(path), this.#structure, AT_SYMLINK_NOFOLLOW), "utimensat", path);
  }

  #times({ seconds, nanoseconds }: Time): void {
    const view = this.#view, high = Math.floor(seconds / 0x1_0000_0000);
    for (const at of [0, 16]) {
      view.setUint32(at, seconds >>> 0, true);
      view.setInt32(at + 4, high, true);
      view.setUint32(at + 8, nanoseconds, true);
      view.setUint32(at + 12, 0, true);
    }
  }

  listXattrs(fd: number): ByteString[] {
    return this.#names(this.#c.flistxattr(fd, this.#list, BigInt(this.#list.length)), "flistxattr", fd);
  }

  listXattrsOf(path: ByteString): ByteString[] {
    return this.#names(this.#c.llistxattr(this.#a(path), this.#list, BigInt(this.#list.length)), "llistxattr", path);
  }

  #names(length: number, call: string, subject: string | number): ByteString[] {
    if (length < 0 && this.#reason() === "EOPNOTSUPP") return [];
    this.#check(length, call, subject);
    return length === 0 ? [] : byteString(this.#list, 0, length - 1).split("\0");
  }

  getXattr(fd: number, name: ByteString): Uint8Array {
    const length = this.#c.fgetxattr(fd, this.#b(name), this.#list, BigInt(this.#list.length));
    return this.#list.slice(0, this.#check(length, "fgetxattr", name));
  }

  getXattrOf(path: ByteString, name: ByteString): Uint8Array {
    const length = this.#c.lgetxattr(this.#a(path), this.#b(name), this.#list, BigInt(this.#list.length));
    return this.#list.slice(0, this.#check(length, "lgetxattr", path));
  }

  setXattr(fd: number, name: ByteString, value: Uint8Array): void {
    this.#check(
      this.#c.fsetxattr(fd, this.#b(name), value as Uint8Array<ArrayBuffer>, BigInt(value.length), 0),
      "fsetxattr",
      name,
    );
  }

  setXattrOf(path: ByteString, name: ByteString, value: Uint8Array): void {
    this.#check(
      this.#c.lsetxattr(this.#a(path), this.#b(name), value as Uint8Array<ArrayBuffer>, BigInt(value.length), 0),
      "lsetxattr",
      path,
    );
  }

  removeXattr(fd: number, name: ByteString): void {
    this.#check(this.#c.fremovexattr(fd, this.#b(name)), "fremovexattr", name);
  }

  ioctl(fd: number, request: number, argument: number | Uint8Array): number {
    const result = typeof argument === "number"
      ? this.#c.ioctlNumber(fd, BigInt(request), BigInt(argument))
      : this.#c.ioctl(fd, BigInt(request), argument as Uint8Array<ArrayBuffer>);
    return this.#check(result, "ioctl", `0x${request.toString(16)}`);
  }

  tryLock(fd: number): boolean {
    if (this.#c.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const reason = this.#reason();
    if (reason === "EAGAIN") return false;
    throw new SystemCallError(reason, "flock", String(fd));
  }

  remount(path: ByteString, readOnly: boolean, options: readonly string[]): void {
    // The call sets all flags of the mount anew.
    const kept = options.reduce((flags, option) => flags | (MS_FLAGS[option] ?? 0), 0);
    const flags = MS_REMOUNT | kept | (readOnly ? MS_RDONLY : 0);
    this.#check(this.#c.mount(this.#b("none"), this.#a(path), null, BigInt(flags), null), "mount", path);
  }

  mountDetached(type: string, source: ByteString, options: MountOptions): number {
    // The mount's own descriptor is only a path, which syncfs and fchmod refuse. An open directory keeps the mount alive.
    return this.#mounted(type, source, options, (mount) => this.openat(mount, ".", O_RDONLY | O_DIRECTORY));
  }

  mountAt(path: ByteString, type: string, source: ByteString, options: MountOptions): void {
    this.#mounted(type, source, options, (mount) => {
      const moved = this.#c.moveMount(
        NR_move_mount,
        mount,
        this.#a(""),
        AT_FDCWD,
        this.#b(path),
        MOVE_MOUNT_F_EMPTY_PATH,
      );
      this.#check(moved, "move_mount", path);
    });
  }

  /** What `use` does not hold or place is gone when the mount's descriptor is closed. */
  #mounted<T>(type: string, source: ByteString, { readOnly, attributes }: MountOptions, use: (mount: number) => T): T {
    const context = this.#check(this.#c.fsopen(NR_fsopen, this.#a(type), FSOPEN_CLOEXEC), "fsopen", type);
    try {
      const set = (command: number, key: string | null, value: string | null) =>
        this.#check(
          this.#c.fsconfig(
            NR_fsconfig,
            context,
            command,
            key === null ? null : this.#a(key),
            value === null ? null : this.#b(value),
            0,
          ),
          "fsconfig",
          key ?? source,
        );
      set(FSCONFIG_SET_STRING, "source", source);
      if (readOnly) set(FSCONFIG_SET_FLAG, "ro", null);
      set(FSCONFIG_CMD_CREATE, null, null);
      const mountAttributes = attributes | (readOnly ? MOUNT_ATTR_RDONLY : 0);
      const mount = this.#check(
        this.#c.fsmount(NR_fsmount, context, FSMOUNT_CLOEXEC, mountAttributes),
        "fsmount",
        source,
      );
      try {
        return use(mount);
      } finally {
        this.close(mount);
      }
    } finally {
      this.close(context);
    }
  }

  cloneTree(path: ByteString): number {
    const flags = OPEN_TREE_CLONE | O_CLOEXEC;
    const tree = this.#check(this.#c.openTree(NR_open_tree, AT_FDCWD, this.#a(path), flags), "open_tree", path);
    try {
      return this.openat(tree, ".", O_RDONLY | O_DIRECTORY);
    } finally {
      this.close(tree);
    }
  }

  chroot(path: ByteString): void {
    this.#check(this.#c.chroot(this.#a(path)), "chroot", path);
    this.#check(this.#c.chdir(this.#a("/")), "chdir", "/");
  }

  kill(pid: number, signal: number): void {
    this.#check(this.#c.kill(pid, signal), "kill", pid);
  }

  getuid(): number {
    return this.#c.getuid();
  }

  #check(result: number, call: string, subject: string | number): number {
    if (result >= 0) return result;
    const reason = this.#reason();
    throw new SystemCallError(reason, call, typeof subject === "number" ? String(subject) : displayName(subject));
  }

  /** Must stand directly behind the call that failed: any other call may change errno. */
  #reason(): string {
    return errnoName(this.#errno.getInt32());
  }

  #a(path: ByteString): Uint8Array<ArrayBuffer> {
    return terminated(path, this.#pathA);
  }

  #b(path: ByteString): Uint8Array<ArrayBuffer> {
    return terminated(path, this.#pathB);
  }
}

function terminated(path: ByteString, target: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (path.length >= PATH_MAX) throw new SystemCallError("ENAMETOOLONG", "path", displayName(path.slice(0, 64)) + "…");
  // A NUL would silently cut the name: what the caller checked would not be what the kernel gets.
  if (path.includes("\0")) throw new SystemCallError("EINVAL", "path", displayName(path));
  target[writeBytes(path, target)] = 0;
  return target;
}

/** A 64-bit number as a JavaScript one: exact up to 2^53, which no size or inode number here reaches. */
function u64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}
