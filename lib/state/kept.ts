/** Images that are kept besides the two slots' ones, each under a name made of its filesystem's UUID. */
import { type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import { IMAGE_DIRECTORY, readImage, type SlotImage } from "./slots.ts";

export interface KeptImage extends SlotImage {
  uuid: string;
  /** In `cOS/`. */
  file: string;
}

const KEPT = /^kept-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.img$/;

export function keptFile(uuid: string): string {
  return `kept-${uuid}.img`;
}

export function keptPath(uuid: string): string {
  return `${IMAGE_DIRECTORY}/${keptFile(uuid)}`;
}

/** In no order. A file whose filesystem is another than its name says is none. */
export function readKept(kernel: Kernel, state: number): KeptImage[] {
  const fd = kernel.openat(state, IMAGE_DIRECTORY, O_RDONLY | O_DIRECTORY);
  try {
    return kernel.readDirectory(fd).flatMap(({ name }) => {
      const uuid = KEPT.exec(name)?.[1], image = uuid === undefined ? undefined : readImage(kernel, fd, name);
      return image === undefined || uuid === undefined || image.uuid !== uuid ? [] : [{ ...image, uuid, file: name }];
    });
  } finally {
    kernel.close(fd);
  }
}
