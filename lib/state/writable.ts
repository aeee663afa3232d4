/** Making a state partition that the running system keeps read-only writable for a while. */
import { byteStringOf } from "../base/byte-string.ts";
import { CosError, SystemCallError } from "../base/errors.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { hasErrno, type Kernel } from "../system/kernel.ts";

/**
 * Until it is disposed of. Where it cannot be made read-only again it stays writable, which harms nothing: `warn` is told, and
 * what most likely holds it.
 */
export function makeWritable(kernel: Kernel, partition: StatePartition, warn: (text: string) => void): Disposable {
  const { readOnly, mountPoint, mountOptions, name } = partition;
  if (!readOnly) return { [Symbol.dispose]: () => undefined };
  if (mountPoint === undefined) throw new Error("a partition that only this process sees is mounted read-only");
  const path = byteStringOf(mountPoint);
  try {
    kernel.remount(path, false, mountOptions);
  } catch (cause) {
    if (!hasErrno(cause, "EROFS", "EACCES", "EPERM", "EBUSY", "EINVAL")) throw cause;
    throw new CosError("SYSTEM_CALL", `Cannot make ${name} writable: mount failed with ${cause.errno}.`, {
      hint: `Look at the kernel's log (dmesg) for errors of that disk, or try: mount -o remount,rw ${mountPoint}`,
      cause,
    });
  }
  return {
    [Symbol.dispose]: () => {
      try {
        kernel.remount(path, true, mountOptions);
      } catch (thrown) {
        // Whatever was to be done is done by now.
        if (!(thrown instanceof SystemCallError)) throw thrown;
        const why = thrown.errno === "EBUSY"
          ? "something still holds it, most likely the loop device of a replaced image"
          : `mount failed with ${thrown.errno}`;
        warn(`${mountPoint} stays writable until the next boot: ${why}.`);
      }
    },
  };
}
