/**
 * The root of the installed active system, for a machine that runs neither slot: a recovery system, a live CD or an initramfs may
 * have no policy, no logins and no certificates of its own, and then those of that system count. Never those of the image that is
 * being installed.
 */
import { CosError, messageOf, SystemCallError } from "../base/errors.ts";
import type { OtherRoot } from "../config/files.ts";
import { type MountedImage, mountImage } from "../image/mount.ts";
import { openStatePartition } from "../machine/state-partition.ts";
import { hasImageDirectory, imagePath } from "../state/slots.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { look, type StateOptions, type View } from "./session.ts";

/** Undefined where the machine runs a slot, or there is no active system, or none that can be looked into: that is told to `warn`. */
export function mountInstalled(
  { kernel, pid }: System,
  { slots, state, partition }: View,
  warn: (text: string) => void,
): MountedImage | undefined {
  if (state.running !== undefined || slots.names.active === undefined) return undefined;
  const fd = kernel.openat(partition.fd, imagePath("active"), O_RDONLY | O_NOFOLLOW);
  try {
    return mountImage(kernel, pid, fd, { readOnly: true, name: "cos-installed" });
  } catch (thrown) {
    cannotBeAsked(warn, thrown);
    return undefined;
  } finally {
    kernel.close(fd);
  }
}

/**
 * Its files, for those who read something there now and then. It is mounted for that long only: an image that is in use counts
 * as one that runs.
 */
export function installedRoot(system: System, options: StateOptions, warn: (text: string) => void): OtherRoot {
  let none = false;
  return async (read) => {
    if (none || system.kernel.getuid() !== 0) return undefined;
    using stack = new DisposableStack();
    const image = mounted(system, options, stack, warn);
    none = image === undefined;
    if (image === undefined) return undefined;
    try {
      return await read(`/proc/${system.pid}/fd/${image.fd}`);
    } catch (thrown) {
      // It may be what is to be mended from here.
      if (!isDamage(thrown)) throw thrown;
      cannotBeAsked(warn, thrown);
      none = true;
      return undefined;
    }
  };
}

/** EIO, EBADMSG, EUCLEAN: the runtime has no names for them. */
function isDamage(thrown: unknown): boolean {
  return thrown instanceof Error && /\(os error (?:5|74|117)\)/.test(thrown.message);
}

function cannotBeAsked(warn: (text: string) => void, thrown: unknown): void {
  warn(`The active system cannot be asked for its configuration: ${messageOf(thrown)}.`);
}

function mounted(
  system: System,
  { state }: StateOptions,
  stack: DisposableStack,
  warn: (text: string) => void,
): MountedImage | undefined {
  try {
    const partition = stack.use(openStatePartition(system, state, false));
    if (!hasImageDirectory(system.kernel, partition.fd)) return undefined;
    const image = mountInstalled(system, look(system, partition), warn);
    return image === undefined ? undefined : stack.use(image);
  } catch (thrown) {
    // This machine has no such system, or it is not to be told which: what needs it says so itself.
    if (thrown instanceof CosError) return undefined;
    // What needs none of it goes on.
    if (!(thrown instanceof SystemCallError)) throw thrown;
    cannotBeAsked(warn, thrown);
    return undefined;
  }
}
