/** What a tree must hold to be the root of a kernel that runs already. */
import type { Kernel } from "../system/kernel.ts";
import type { TreeRoot } from "../system/tree-root.ts";

/** What kernels and initramfs start, in their order (Linux, init/main.c). */
const FIRST_PROGRAMS = ["sbin/init", "etc/init", "bin/init", "bin/sh"];
const MODULES = ["usr/lib/modules", "lib/modules"];

/** Links are followed within the tree only. */
export function startsSomething(tree: TreeRoot): boolean {
  return FIRST_PROGRAMS.some((path) => (tree.sizeOf(path) ?? 0) > 0);
}

/**
 * Whether the modules of a kernel are there. Undefined where there are none for any kernel: one without modules fits.
 * @param release as `uname -r` says it.
 */
export function fitsKernel(kernel: Kernel, tree: TreeRoot, release: string): boolean | undefined {
  let any = false;
  for (const path of MODULES) {
    const directory = tree.find(path);
    if (directory === undefined) continue;
    // The tree's own descriptors cannot be read from (O_PATH).
    const fd = kernel.openat(directory.fd, ".", 0);
    try {
      const names = kernel.readDirectory(fd).map(({ name }) => name);
      if (names.includes(release)) return true;
      any ||= names.length > 0;
    } finally {
      kernel.close(fd);
    }
  }
  return any ? false : undefined;
}
