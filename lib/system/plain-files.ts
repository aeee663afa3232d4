/** Small plain files below a directory that is held open; what stands in their place is never followed, and never waited for. */
import type { ByteString } from "../base/byte-string.ts";
import {
  type FileStatus,
  hasErrno,
  isRegular,
  type Kernel,
  O_CREAT,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "./kernel.ts";

/**
 * What `use` makes of the file, which is open only for its time. `absent` where there is none, `odd` where a link, a pipe or a
 * directory stands there. Throws `SystemCallError`.
 */
export function withPlainFile<T>(
  kernel: Kernel,
  dir: number,
  path: ByteString,
  use: (fd: number, status: FileStatus) => T,
): T | "absent" | "odd" {
  let fd;
  try {
    fd = kernel.openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return "absent";
    if (hasErrno(thrown, "ELOOP", "ENXIO")) return "odd";
    throw thrown;
  }
  try {
    const status = kernel.fstat(fd);
    return isRegular(status) ? use(fd, status) : "odd";
  } finally {
    kernel.close(fd);
  }
}

/** Writes the file anew and flushes it; its name is not durable by that. Throws `SystemCallError`. */
export function writePlainFile(
  kernel: Kernel,
  dir: number,
  path: ByteString,
  content: Uint8Array,
  mode = 0o644,
): void {
  const fd = kernel.openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode);
  try {
    kernel.write(fd, content);
    kernel.fsync(fd);
  } finally {
    kernel.close(fd);
  }
}

/** Removes a name, if there is one. */
export function removeIfThere(kernel: Kernel, dir: number, path: ByteString): void {
  try {
    kernel.unlinkat(dir, path);
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT")) throw thrown;
  }
}
