/** Which image this machine runs from. Names and labels can be stale; the inode behind the root's loop device cannot. */
import { readTextFile } from "./files.ts";
import { AT_FDCWD, type Kernel } from "../system/kernel.ts";
import { LOOP_MAJOR, type LoopBacking, loopBacking } from "../system/loop.ts";

/** The file behind the root filesystem; undefined where the root is no loop device (a live system, a pod, a lab). */
export function runningImage(kernel: Kernel, pid: number): LoopBacking | undefined {
  const root = kernel.statat(AT_FDCWD, "/", true);
  return root.devMajor === LOOP_MAJOR ? loopBacking(kernel, pid, root.devMinor) : undefined;
}

/** The files behind all loop devices of the machine, without those that a run of this program looks into. */
export function usedImages(kernel: Kernel, pid: number): LoopBacking[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync("/sys/block")].map(({ name }) => name);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return [];
    throw thrown;
  }
  return names.flatMap((name) => {
    const number = /^loop([0-9]+)$/.exec(name)?.[1];
    if (number === undefined || !isAttached(name)) return [];
    const backing = loopBacking(kernel, pid, Number(number));
    return backing === undefined || backing.name.startsWith("cos-") ? [] : [backing];
  });
}

/** The file of a device that is being freed just now is there still, and cannot be read any more (ENODEV). */
function isAttached(name: string): boolean {
  try {
    return readTextFile(`/sys/block/${name}/loop/backing_file`) !== undefined;
  } catch (thrown) {
    // The runtime has no name for this one.
    if (thrown instanceof Error && thrown.message.includes("(os error 19)")) return false;
    throw thrown;
  }
}
