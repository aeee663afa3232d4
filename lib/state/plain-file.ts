/** Small files at the top of the state partition that a boot loader reads: replaced so that it always reads one of them, whole. */
import { CosError } from "../base/errors.ts";
import { hasErrno, type Kernel } from "../system/kernel.ts";
import { removeIfThere, withPlainFile, writePlainFile } from "../system/plain-files.ts";

const MAX_SIZE = 1024 * 1024;

const freshName = (path: string) => `${path}.cos-new`;
const heldName = (path: string) => `${path}.cos-old`;

/** Undefined where there is none. Throws `CONFIGURATION` where it is no file, or far too long for one. */
export function fileAt(kernel: Kernel, state: number, path: string): Uint8Array | undefined {
  const found = withPlainFile(kernel, state, path, (fd, { size }) => {
    if (size > MAX_SIZE) throw noFile(path);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, kernel.pread(fd, bytes, 0));
  });
  if (found === "odd") throw noFile(path);
  return found === "absent" ? undefined : found;
}

/**
 * The old file keeps a name until a boot loader sees the new one, as an image does in a switch: blocks that an old view leads to
 * must not be free. Owner and mode stay as they were. @param keepAs the old file keeps this name for good.
 */
export async function replaceFile(
  kernel: Kernel,
  state: number,
  path: string,
  content: Uint8Array,
  checkpoint: () => Promise<void>,
  keepAs?: string,
): Promise<void> {
  const fresh = freshName(path), held = keepAs ?? heldName(path);
  try {
    writePlainFile(kernel, state, fresh, content);
    keepOwnership(kernel, state, path, fresh);
    removeIfThere(kernel, state, held);
    const had = link(kernel, state, path, held);
    await checkpoint();
    kernel.renameat(state, fresh, state, path);
    await checkpoint();
    if (!had || keepAs !== undefined) return;
    removeIfThere(kernel, state, held);
    await checkpoint();
  } catch (thrown) {
    removeIfThere(kernel, state, fresh);
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
  kernel.renameat(state, path, state, heldName(path));
  await checkpoint();
  removeIfThere(kernel, state, heldName(path));
  await checkpoint();
}

/**
 * Removes what a cut run has left under temporary names: of files that it replaced or removed with the functions above, and
 * `others`. True where there was something.
 */
export async function removeLeftovers(
  kernel: Kernel,
  state: number,
  replaced: readonly string[],
  others: readonly string[],
  checkpoint: () => Promise<void>,
): Promise<boolean> {
  const left = [...replaced.flatMap((path) => [freshName(path), heldName(path)]), ...others]
    .filter((path) => withPlainFile(kernel, state, path, () => "file") === "file");
  if (left.length === 0) return false;
  // A boot loader may still read a held file under the name that it had.
  await checkpoint();
  for (const path of left) removeIfThere(kernel, state, path);
  await checkpoint();
  return true;
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

function keepOwnership(kernel: Kernel, state: number, from: string, to: string): void {
  const was = withPlainFile(kernel, state, from, (_, status) => status);
  if (typeof was === "string") return;
  kernel.lchownat(state, to, was.uid, was.gid);
  // Behind the owner: a change of that takes bits away.
  kernel.fchmodat(state, to, was.mode & 0o7777);
}

function noFile(path: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${path} on the state partition: it is no plain file.`, {
    hint: "Look at what it is, and move it away.",
  });
}
