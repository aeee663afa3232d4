/** What hooks and relabelling have changed in a tree: found by the time of change, which nobody can set, and summed anew. */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { type ContentSums, sparseSum } from "../system/content-sums.ts";
import { isDirectory, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, type Time } from "../system/kernel.ts";

/** One read, in bytes. */
const PIECE = 1024 * 1024;
/** Paths that are told. */
const MAX_TOLD = 1000;

/** The filesystem's own time now: that of a change that changes nothing. */
export function timeOf(kernel: Kernel, directory: number): Time {
  kernel.fchmod(directory, kernel.fstat(directory).mode & 0o7777);
  return kernel.fstat(directory).ctime;
}

/** The first one that nothing has happened at yet: the filesystem's clock ticks every few milliseconds. */
export async function nextTime(kernel: Kernel, directory: number): Promise<Time> {
  const now = timeOf(kernel, directory);
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const later = timeOf(kernel, directory);
    if (later.seconds !== now.seconds || later.nanoseconds !== now.nanoseconds) return later;
  }
}

/**
 * Sums every file anew that was changed since then, and returns the paths of what was changed since the other time, the first of
 * them, directories too.
 * @param root the mounted tree. Throws `SystemCallError`.
 */
export function sumAnew(kernel: Kernel, root: number, sums: ContentSums, since: Time, toldSince: Time): string[] {
  const told: string[] = [], buffer = new Uint8Array(PIECE), seen = new Set<number>();
  const isNew = ({ seconds, nanoseconds }: Time, than: Time) =>
    seconds > than.seconds || seconds === than.seconds && nanoseconds >= than.nanoseconds;

  function directory(dir: number, path: ByteString): void {
    for (const { name } of kernel.readDirectory(dir)) {
      const below = path === "" ? name : `${path}/${name}`, status = kernel.statat(dir, name);
      const changed = isNew(status.ctime, since);
      if (isNew(status.ctime, toldSince) && told.length < MAX_TOLD) told.push(displayName(below));
      const isFile = isRegular(status);
      if (!isDirectory(status) && !(isFile && changed)) continue;
      if (isFile && status.nlink > 1 && seen.has(status.ino)) continue;
      const fd = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW | (isFile ? 0 : O_DIRECTORY));
      try {
        if (!isFile) directory(fd, below);
        else {
          seen.add(status.ino);
          const hole = kernel.seekHole(fd, 0), sparse = hole >= 0 && hole < status.size;
          sums.set(status.ino, sparse ? sparseSum(kernel, fd, sums.crc32, buffer) : plainSum(fd), sparse);
        }
      } finally {
        kernel.close(fd);
      }
    }
  }

  function plainSum(fd: number): number {
    let sum = 0;
    for (let at = 0;;) {
      const count = kernel.pread(fd, buffer, at);
      if (count === 0) return sum;
      sum = sums.crc32(buffer.subarray(0, count), sum);
      at += count;
    }
  }

  directory(root, "");
  return told.sort();
}
