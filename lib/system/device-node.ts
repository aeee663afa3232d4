/** Device nodes of the kernel, also where nobody has made them. */
import type { ByteString } from "../base/byte-string.ts";
import { AT_FDCWD, hasErrno, type Kernel, O_RDWR } from "./kernel.ts";

export interface DeviceNode extends Disposable {
  fd: number;
  /** Where child programs find it. */
  path: ByteString;
}

/** A device node, also where `/dev` lacks it (containers, an initramfs): then one is made in a mount that nobody sees. */
export function openNode(
  kernel: Kernel,
  pid: number,
  name: string,
  type: number,
  major: number,
  minor: number,
  flags = O_RDWR,
): DeviceNode {
  const path = `/dev/${name}`;
  try {
    const fd = kernel.openat(AT_FDCWD, path, flags);
    return { fd, path, [Symbol.dispose]: () => kernel.close(fd) };
  } catch (thrown) {
    if (!hasErrno(thrown, "ENOENT", "ENXIO", "ENODEV")) throw thrown;
  }
  const root = kernel.mountDetached("tmpfs", "none", { readOnly: false, attributes: 0 });
  try {
    kernel.mknodat(root, name, type | 0o600, major, minor);
    const fd = kernel.openat(root, name, flags);
    return {
      fd,
      path: `/proc/${pid}/fd/${root}/${name}`,
      [Symbol.dispose]: () => {
        kernel.close(fd);
        kernel.close(root);
      },
    };
  } catch (thrown) {
    kernel.close(root);
    throw thrown;
  }
}
