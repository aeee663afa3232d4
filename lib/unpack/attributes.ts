/** Owners, modes and extended attributes of what was written. */
import type { ByteString } from "../base/byte-string.ts";
import type { TarEntry } from "../formats/tar.ts";
import { type FileStatus, hasErrno, type Kernel } from "../system/kernel.ts";
import type { OpenDirectory } from "../system/tree-root.ts";
import { broken } from "./errors.ts";
import { quote } from "./failures.ts";

/** Of xattr(7), for all filesystems; bytes. */
const MAX_XATTR = 65536;
/** A layer can hold more that has to be left out than anybody wants to read about. */
const MAX_WARNINGS = 20;
/** What is made in a directory inherits it at once, so it comes last. */
export const DEFAULT_ACL = "system.posix_acl_default";

export class Attributes {
  readonly #kernel: Kernel;
  readonly #filesystem: number;
  readonly #warn: (text: string) => void;
  readonly #unsettable = new Set<string>();

  /** @param filesystem a directory of it; stays the caller's. */
  constructor(kernel: Kernel, filesystem: number, warn: (text: string) => void) {
    this.#kernel = kernel;
    this.#filesystem = filesystem;
    this.#warn = warn;
  }

  /**
   * Owner, then mode (chown clears setuid), then extended attributes (chown and write clear security.capability).
   * @param now what the file has already: most are made as they have to be.
   */
  set(fd: number, entry: TarEntry, now: FileStatus): void {
    const kernel = this.#kernel, { uid, gid, mode } = entry, owned = now.uid === uid && now.gid === gid;
    if (!owned) kernel.fchown(fd, uid, gid);
    if (!owned || (now.mode & 0o7777) !== mode) kernel.fchmod(fd, mode);
    for (const [key, value] of entry.xattrs) {
      if (key === DEFAULT_ACL && entry.type === "directory") continue; // comes last
      this.#xattr(key, value.length, () => kernel.setXattr(fd, key, value));
    }
  }

  /** As a directory that a layer implies: of root, for all to read, with nothing besides. */
  setImplied(fd: number): void {
    for (const key of this.#kernel.listXattrs(fd)) this.#xattr(key, 0, () => this.#kernel.removeXattr(fd, key));
    this.#kernel.fchown(fd, 0, 0);
    this.#kernel.fchmod(fd, 0o755);
  }

  /** Removes the extended attributes that the entry does not have. */
  dropOthers(fd: number, entry: TarEntry): void {
    for (const key of this.#kernel.listXattrs(fd)) {
      if (!entry.xattrs.has(key)) this.#xattr(key, 0, () => this.#kernel.removeXattr(fd, key));
    }
  }

  /** There is no call that sets an attribute by directory and name; /proc leads there without a walk. */
  setAt(parent: OpenDirectory, name: ByteString, key: ByteString, value: Uint8Array): void {
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
      const full = hasErrno(thrown, "ENOSPC") && this.#kernel.fstatfs(this.#filesystem).available > 2 * MAX_XATTR;
      if (full || hasErrno(thrown, "ERANGE")) throw tooLarge();
      if (!hasErrno(thrown, "EOPNOTSUPP", "EPERM", "EACCES", "EINVAL")) throw thrown;
      const known = this.#unsettable;
      if (known.has(key) || known.size >= MAX_WARNINGS) return;
      known.add(key);
      this.#warn(
        `Left out the extended attribute ${quote(key)}: the image's filesystem does not take it (${thrown.errno}).`,
      );
    }
  }
}
