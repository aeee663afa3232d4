/**
 * One run at a time on a state partition. The lock is on the partition's top directory itself: it holds across containers and
 * mount namespaces, needs nothing writable, leaves no file behind, and goes with the process, however that ends.
 */
import { CosError } from "../base/errors.ts";
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";

/** @param state the top directory of the state partition. Throws `LOCKED`, with the process that holds it. */
export function lockState(kernel: Kernel, state: number, name: string): Disposable {
  // A lock belongs to an open file: a descriptor of its own, so that closing the partition's does not matter.
  const fd = kernel.openat(state, ".", O_RDONLY | O_DIRECTORY);
  try {
    if (!kernel.tryLock(fd)) throw locked(kernel, fd, name);
  } catch (thrown) {
    kernel.close(fd);
    throw thrown;
  }
  return { [Symbol.dispose]: () => kernel.close(fd) };
}

function locked(kernel: Kernel, fd: number, name: string): CosError {
  const pid = lockHolder(kernel, fd);
  const who = pid === undefined ? "another run of cos" : `another run of cos (process ${pid})`;
  return new CosError("LOCKED", `Cannot work on ${name}: ${who} is at work on it.`, {
    hint: pid === undefined ? "Wait until it has ended." : `Wait until it has ended, or stop it with: kill ${pid}`,
    details: pid === undefined ? {} : { pid },
  });
}

/** From proc_locks(5): `1: FLOCK ADVISORY WRITE 1234 08:03:2 0 EOF`, numbers of the device in hex. */
function lockHolder(kernel: Kernel, fd: number): number | undefined {
  const { devMajor, devMinor, ino } = kernel.fstat(fd);
  const hex = (n: number) => n.toString(16).padStart(2, "0");
  const file = `${hex(devMajor)}:${hex(devMinor)}:${ino}`;
  let text;
  try {
    text = Deno.readTextFileSync("/proc/locks");
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return undefined;
    throw thrown;
  }
  for (const line of text.split("\n")) {
    const [, type, , , pid, where] = line.trim().split(/\s+/);
    // 0 and below: a process that this pid namespace does not see.
    if (type === "FLOCK" && where === file && Number(pid) > 0) return Number(pid);
  }
  return undefined;
}
