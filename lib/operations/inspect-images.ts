/** What each slot's image is good for: a switch must never keep one that could not boot while the other is whole. */
import { CosError } from "../base/errors.ts";
import { checkBootFiles } from "../boot/boot-files.ts";
import { marksItself } from "../boot/marks-itself.ts";
import { withImageTree } from "../image/mount.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { imagePath, type Slots } from "../state/slots.ts";
import type { ImageId } from "../state/switch.ts";
import { hasErrno, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";

export interface Inspected {
  /** Images that could not boot. */
  broken: ReadonlySet<ImageId>;
  /** Images that say by themselves that they run well. */
  marking: ReadonlySet<ImageId>;
}

export const NOT_INSPECTED: Inspected = { broken: new Set(), marking: new Set() };

/** Mounts each slot's image for a moment; squashfs and what else is no ext filesystem counts as broken too. */
export function inspectImages({ kernel, pid }: System, { fd: state }: StatePartition, slots: Slots): Inspected {
  const broken = new Set<ImageId>(), marking = new Set<ImageId>();
  for (const slot of ["active", "passive"] as const) {
    const id = slots.names[slot];
    if (id === undefined || broken.has(id)) continue;
    const fd = kernel.openat(state, imagePath(slot), O_RDONLY | O_NOFOLLOW);
    try {
      withImageTree(kernel, pid, fd, (tree) => {
        checkBootFiles(tree, imagePath(slot));
        if (marksItself(kernel, tree)) marking.add(id);
      });
    } catch (thrown) {
      if (!tellsOfImage(thrown)) throw thrown;
      broken.add(id);
    } finally {
      kernel.close(fd);
    }
  }
  return { broken, marking };
}

/**
 * Only what the image itself is to blame for: a machine that lets nobody mount, or has no loop device left, says nothing of what
 * lies in a slot, and must not make a good system look expendable.
 */
function tellsOfImage(thrown: unknown): boolean {
  if (thrown instanceof CosError) return thrown.code === "INCOMPLETE_SYSTEM" || thrown.code === "BROKEN_LAYER";
  return hasErrno(thrown, "EINVAL", "EUCLEAN", "EBADMSG", "EIO") &&
    !["fsopen", "fsmount", "ioctl"].includes(thrown.call);
}
