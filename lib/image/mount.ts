/** Mounting an image where nobody else sees it. Nothing of it is left when the process ends, however it ends. */
import type { ByteString } from "../base/byte-string.ts";
import { type Kernel, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID } from "../system/kernel.ts";
import { attachLoop, type LoopDevice } from "../system/loop.ts";
import { TreeRoot } from "../system/tree-root.ts";

/** Systems are ext2 to ext4; a recovery system may be the other. */
export type ImageFilesystem = "ext4" | "squashfs";

export interface MountedImage extends Disposable {
  /** The image's top directory. */
  fd: number;
  loop: LoopDevice;
}

/** @param file the image, opened; stays the caller's. */
export function mountImage(
  kernel: Kernel,
  pid: number,
  file: number,
  options: { readOnly: boolean; direct?: boolean; name: ByteString; filesystem?: ImageFilesystem },
): MountedImage {
  const loop = attachLoop(kernel, pid, file, options);
  try {
    const fd = mountLoop(kernel, loop, options.readOnly, options.filesystem);
    return {
      fd,
      loop,
      [Symbol.dispose]: () => {
        kernel.close(fd);
        loop[Symbol.dispose]();
      },
    };
  } catch (thrown) {
    loop[Symbol.dispose]();
    throw thrown;
  }
}

/** The descriptor is the caller's. */
export function mountLoop(
  kernel: Kernel,
  loop: LoopDevice,
  readOnly: boolean,
  filesystem: ImageFilesystem = "ext4",
): number {
  const attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  // The ext4 driver reads all of the family; the old ext2 driver knows no extents.
  return kernel.mountDetached(filesystem, loop.path, { readOnly, attributes });
}

/** Reads something out of an image's tree. @param file the image, opened; stays the caller's. */
export function withImageTree<T>(kernel: Kernel, pid: number, file: number, read: (tree: TreeRoot) => T): T {
  using image = mountImage(kernel, pid, file, { readOnly: true, name: "cos-read" });
  const tree = new TreeRoot(kernel, image.fd);
  try {
    return read(tree);
  } finally {
    tree.forget();
  }
}
