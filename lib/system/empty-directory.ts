/** Taking away all that is below a directory, on descriptors: no link leads a removal elsewhere, and no mount is entered. */
import { isDirectory, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "./kernel.ts";

/** Deeper than anything that people make. */
const MAX_DEPTH = 1024;
/** The filesystem's own; e2fsck makes it anew. */
const KEPT = "lost+found";

/** The directory itself stays. Throws `SystemCallError`. */
export function emptyDirectory(kernel: Kernel, directory: number, depth = 0): void {
  const { devMajor, devMinor } = kernel.fstat(directory);
  if (depth > MAX_DEPTH) throw new Error("the directories are nested too deeply");
  for (const { name } of kernel.readDirectory(directory)) {
    if (depth === 0 && name === KEPT) continue;
    const status = kernel.statat(directory, name);
    if (isDirectory(status)) {
      if (status.devMajor !== devMajor || status.devMinor !== devMinor) continue;
      const fd = kernel.openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      try {
        emptyDirectory(kernel, fd, depth + 1);
      } finally {
        kernel.close(fd);
      }
    }
    kernel.unlinkat(directory, name, isDirectory(status));
  }
}
