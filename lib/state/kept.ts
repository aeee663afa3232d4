/**
 * Images that have a name besides the two slots' ones, made of their filesystem's UUID: `kept-` until others take their place,
 * `pinned-` for good. A pinned image may have a slot too: whatever a switch gives up, its own name stays.
 */
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { IMAGE_DIRECTORY, readImage, type SlotImage } from "./slots.ts";

export interface KeptImage extends SlotImage {
  uuid: string;
  /** In `cOS/`. */
  file: string;
  pinned: boolean;
}

const KEPT = /^(kept|pinned)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.img$/;

export function keptPath(uuid: string, { pinned } = { pinned: false }): string {
  return `${IMAGE_DIRECTORY}/${pinned ? "pinned" : "kept"}-${uuid}.img`;
}

/** In no order, and each once: pinned, where a cut has left both names. A file whose filesystem is another than its name says is none. */
export function readKept(kernel: Kernel, state: number): KeptImage[] {
  const fd = kernel.openat(state, IMAGE_DIRECTORY, O_RDONLY | O_DIRECTORY);
  try {
    const found = new Map<string, KeptImage>();
    for (const { name } of kernel.readDirectory(fd)) {
      const [, kind, uuid] = KEPT.exec(name) ?? [], pinned = kind === "pinned";
      if (uuid === undefined || found.get(uuid)?.pinned) continue;
      const image = readImage(kernel, fd, name);
      if (image?.uuid === uuid) found.set(uuid, { ...image, uuid, file: name, pinned });
    }
    return [...found.values()];
  } finally {
    kernel.close(fd);
  }
}
