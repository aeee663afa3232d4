/** Which image this machine runs from. Names and labels can be stale; the inode behind the root's loop device cannot. */
import { AT_FDCWD, type Kernel } from "../system/kernel.ts";
import { LOOP_MAJOR, type LoopBacking, loopBacking } from "../system/loop.ts";

/** The file behind the root filesystem; undefined where the root is no loop device (a live system, a pod, a lab). */
export function runningImage(kernel: Kernel, pid: number): LoopBacking | undefined {
  const root = kernel.statat(AT_FDCWD, "/", true);
  return root.devMajor === LOOP_MAJOR ? loopBacking(kernel, pid, root.devMinor) : undefined;
}
