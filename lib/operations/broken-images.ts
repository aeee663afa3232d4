/** Which images could not boot. A switch must never keep one of them as the fallback while the other is whole. */
import { CosError } from "../base/errors.ts";
import { checkBootFiles } from "../boot/boot-files.ts";
import { withImageTree } from "../image/mount.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { imagePath, type Slots } from "../state/slots.ts";
import type { ImageId } from "../state/switch.ts";
import { hasErrno, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";

/** Mounts each slot's image for a moment; squashfs and what else is no ext filesystem counts as broken too. */
export function brokenImages({ kernel, pid }: System, { fd: state }: StatePartition, slots: Slots): Set<ImageId> {
  const broken = new Set<ImageId>();
  for (const slot of ["active", "passive"] as const) {
    const id = slots.names[slot];
    if (id === undefined || broken.has(id)) continue;
    const fd = kernel.openat(state, imagePath(slot), O_RDONLY | O_NOFOLLOW);
    try {
      withImageTree(kernel, pid, fd, (tree) => checkBootFiles(tree, imagePath(slot)));
    } catch (thrown) {
      if (!tellsOfImage(thrown)) throw thrown;
      broken.add(id);
    } finally {
      kernel.close(fd);
    }
  }
  return broken;
}

/**
 * Only what the image itself is to blame for: a machine that lets nobody mount, or has no loop device left, says nothing of what
 * lies in a slot, and must not make a good system look expendable.
 */
function tellsOfImage(thrown: unknown): boolean {
  if (thrown instanceof CosError) return thrown.code === "INCOMPLETE_SYSTEM" || thrown.code === "BROKEN_LAYER";
  return hasErrno(thrown, "EINVAL", "EUCLEAN", "EIO") && !["fsopen", "fsmount", "ioctl"].includes(thrown.call);
}
