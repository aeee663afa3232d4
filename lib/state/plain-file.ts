/** Small files at the top of the state partition that a boot loader reads: replaced so that it always reads one of them, whole. */
import { CosError } from "../base/errors.ts";
import {
  hasErrno,
  isRegular,
  type Kernel,
  O_CREAT,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "../system/kernel.ts";

const MAX_SIZE = 1024 * 1024;

/** Undefined where there is none. Throws `CONFIGURATION` where it is no file, or far too long for one. */
export function fileAt(kernel: Kernel, state: number, path: string): Uint8Array | undefined {
  let fd;
  try {
    fd = kernel.openat(state, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT")) return undefined;
    if (hasErrno(thrown, "ELOOP", "ENXIO")) throw noFile(path);
    throw thrown;
  }
  try {
    const status = kernel.fstat(fd);
    if (!isRegular(status) || status.size > MAX_SIZE) throw noFile(path);
    const bytes = new Uint8Array(status.size);
    return bytes.subarray(0, kernel.pread(fd, bytes, 0));
  } finally {
    kernel.close(fd);
  }
}

/**
 * The old file keeps a name until a boot loader sees the new one, as an image does in a switch: blocks that an old view leads to
 * must not be free. @param keepAs the old file keeps this name for good.
 */
export async function replaceFile(
  kernel: Kernel,
  state: number,
  path: string,
  content: Uint8Array,
  checkpoint: () => Promise<void>,
  keepAs?: string,
): Promise<void> {
  const fresh = `${path}.cos-new`, held = keepAs ?? `${path}.cos-old`;
  const fd = kernel.openat(state, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
  try {
    try {
      kernel.write(fd, content);
      kernel.fsync(fd);
    } finally {
      kernel.close(fd);
    }
    remove(kernel, state, held);
    const had = link(kernel, state, path, held);
    await checkpoint();
    kernel.renameat(state, fresh, state, path);
    await checkpoint();
    if (!had || keepAs !== undefined) return;
    remove(kernel, state, held);
    await checkpoint();
  } catch (thrown) {
    remove(kernel, state, fresh);
    throw thrown;
  }
}

export async function removeFile(
  kernel: Kernel,
  state: number,
  path: string,
  checkpoint: () => Promise<void>,
): Promise<void> {
  // Renamed first, for the same reason.
  kernel.renameat(state, path, state, `${path}.cos-old`);
  await checkpoint();
  remove(kernel, state, `${path}.cos-old`);
  await checkpoint();
}

function link(kernel: Kernel, state: number, from: string, to: string): boolean {
  try {
    kernel.linkat(state, from, state, to);
    return true;
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT")) return false;
    throw thrown;
  }
}

function remove(kernel: Kernel, state: number, path: string): void {
  try {
    kernel.unlinkat(state, path);
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT")) throw thrown;
  }
}

function noFile(path: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${path} on the state partition: it is no plain file.`, {
    hint: "Look at what it is, and move it away.",
  });
}
