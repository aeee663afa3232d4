/** Environment blocks in files that GRUB writes to as well: changed in place, since it may have noted where they lie. */
import { ENV_BLOCK_SIZE, ONE_SECTOR } from "../formats/env-block.ts";
import { hasErrno, type Kernel, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";

/**
 * `absent` where there is no file, or a link. Throws `SystemCallError`, and what `change` throws.
 * @param change the new block; undefined to leave it.
 */
export function changeEnvFile(
  kernel: Kernel,
  directory: number,
  path: string,
  change: (bytes: Uint8Array) => Uint8Array | undefined,
): "written" | "same" | "absent" {
  let fd;
  try {
    fd = kernel.openat(directory, path, O_RDWR | O_NOFOLLOW);
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT", "ELOOP")) throw thrown;
    return "absent";
  }
  try {
    const bytes = new Uint8Array(ENV_BLOCK_SIZE);
    const block = change(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
    if (block === undefined) return "same";
    // What does not fit into a sector is never made here; what stands in the second one stays there.
    kernel.pwrite(fd, block.length > ONE_SECTOR && sameTail(block, bytes) ? block.subarray(0, ONE_SECTOR) : block, 0);
    kernel.fdatasync(fd);
    return "written";
  } finally {
    kernel.close(fd);
  }
}

function sameTail(a: Uint8Array, b: Uint8Array): boolean {
  return a.subarray(ONE_SECTOR).every((byte, i) => byte === b[ONE_SECTOR + i]);
}
