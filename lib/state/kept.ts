/**
 * Images that have a name besides the two slots' ones, made of their filesystem's UUID: `kept-` until others take their place,
 * `pinned-` for good. A pinned image may have a slot too: whatever a switch gives up, its own name stays.
 *
 * They have a directory of their own. GRUB reads `cOS` without the journal, and each step of a switch writes there: XFS keeps its
 * few short names in the inode, which is one sector, but with these it would need a block, which a cut can leave unwritten or torn.
 */
import { hasErrno, type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { IMAGE_DIRECTORY, readImage, type SlotImage } from "./slots.ts";

const KEPT_DIRECTORY = `${IMAGE_DIRECTORY}/kept`;

export interface KeptImage extends SlotImage {
  uuid: string;
  /** From the state partition. */
  path: string;
  pinned: boolean;
}

const KEPT = /^(kept|pinned)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.img$/;

export function keptPath(uuid: string, { pinned } = { pinned: false }): string {
  return `${KEPT_DIRECTORY}/${pinned ? "pinned" : "kept"}-${uuid}.img`;
}

/** Gives the image at `path` such a name; the name is not durable by that. */
export function linkKept(kernel: Kernel, state: number, path: string, kept: string): void {
  try {
    kernel.mkdirat(state, KEPT_DIRECTORY, 0o755);
  } catch (thrown) {
    if (!hasErrno(thrown, "EEXIST")) throw thrown;
  }
  kernel.linkat(state, path, state, kept);
}

/** In no order, and each once: pinned, where a cut has left both names. A file whose filesystem is another than its name says is none. */
export function readKept(kernel: Kernel, state: number): KeptImage[] {
  let fd;
  try {
    fd = kernel.openat(state, KEPT_DIRECTORY, O_RDONLY | O_DIRECTORY);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return [];
    throw thrown;
  }
  try {
    const found = new Map<string, KeptImage>();
    for (const { name } of kernel.readDirectory(fd)) {
      const [, kind, uuid] = KEPT.exec(name) ?? [], pinned = kind === "pinned";
      if (uuid === undefined || found.get(uuid)?.pinned) continue;
      const image = readImage(kernel, fd, name);
      if (image?.uuid === uuid) found.set(uuid, { ...image, uuid, path: `${KEPT_DIRECTORY}/${name}`, pinned });
    }
    return [...found.values()];
  } finally {
    kernel.close(fd);
  }
}
