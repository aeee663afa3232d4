/** Checks of a finished image: on the disk, not in memory, and with other eyes than those that wrote it. */
import type { ContentSums } from "../system/content-sums.ts";
import type { Kernel } from "../system/kernel.ts";
import { extents } from "../system/extents.ts";
import type { System } from "../system/system.ts";
import type { Thread } from "../system/thread.ts";
import { mountImage } from "./mount.ts";
import { damaged } from "./damaged.ts";
import { imageFiles } from "./files.ts";
import { filesBeside } from "./files-service.ts";
import { ReadBack } from "./read-back.ts";

/**
 * Flushes the image, then reads it back: no block in a state that boot loaders misread, the filesystem clean, every file's
 * content as it was written.
 * @param thread finds the files, where there is one; else this one does. Returns the number of files. Throws `IMAGE_DAMAGED`, `TOOL_MISSING`, `SystemCallError`.
 */
export async function checkImage(
  system: Pick<System, "kernel" | "programs" | "pid">,
  file: number,
  sums: ContentSums,
  thread?: Thread,
  signal?: AbortSignal,
): Promise<number> {
  const { kernel } = system;
  // Errors that the page cache has kept so far come out here.
  kernel.fsync(file);
  checkExtents(kernel, file);
  // What is read from here on was not in memory: it comes from the disk.
  kernel.dropCache(file);
  // It reads the file itself, while the kernel's own driver reads it through a loop device.
  const checked = system.programs.run("e2fsck", ["-fn", `/proc/${system.pid}/fd/${file}`]);
  // Its failure is looked at below; until then nobody listens.
  checked.catch(() => undefined);
  using mounted = mountImage(kernel, system.pid, file, { readOnly: true, name: "cos-check" });
  let files = 0;
  try {
    using back = new ReadBack(kernel, sums, file, mounted.fd);
    const beside = thread !== undefined && await thread.ready;
    for await (const some of beside ? filesBeside(thread, mounted.fd) : imageFiles(kernel, mounted.fd)) {
      signal?.throwIfAborted();
      back.compare(some);
      files += some.paths.length;
    }
  } finally {
    await checked.catch(() => undefined);
  }
  const { status, output } = await checked;
  if (status !== 0) throw damaged(`e2fsck ended with status ${status}`, { output });
  return files;
}

/**
 * GRUB ignores the mark "allocated but unwritten" and reads what lay on the disk before; blocks whose place is not decided yet
 * are not on the disk at all.
 */
function checkExtents(kernel: Kernel, file: number): void {
  for (const { offset, written } of extents(kernel, file)) {
    if (!written) throw damaged(`the block at ${offset} is not written on the disk`, {});
  }
}
