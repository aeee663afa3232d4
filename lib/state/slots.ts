/** What lies in `cOS/` of the state partition: the images by name and inode, with what their superblocks say. */
import { CosError } from "../base/errors.ts";
import { parseExtSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from "../formats/ext-superblock.ts";
import { hasErrno, isRegular, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { IMAGE_NAMES, type ImageId, type ImageName } from "./switch.ts";

export const IMAGE_DIRECTORY = "cOS";
/** What the second generation keeps of the slots, at the top of the partition. */
export const STATE_YAML_FILE = "state.yaml";

export function imagePath(name: ImageName): string {
  return `${IMAGE_DIRECTORY}/${name}.img`;
}

export interface SlotImage {
  id: ImageId;
  /** Of the filesystem inside; the same for copies that older tools made. Undefined where it is no ext filesystem. */
  uuid?: string;
  label?: string;
  checksummed: boolean;
  /** The superblock's checksum is wrong, so nothing mounts it. */
  torn: boolean;
  /** Bytes that the file claims, and that it really takes. */
  size: number;
  allocated: number;
  devMajor: number;
  devMinor: number;
}

export interface Slots {
  names: Partial<Record<ImageName, ImageId>>;
  images: ReadonlyMap<ImageId, SlotImage>;
}

/** @param state the top directory of the state partition. Throws `IMAGE_DAMAGED` for a name that is no file. */
export function readSlots(kernel: Kernel, state: number): Slots {
  const names: Partial<Record<ImageName, ImageId>> = {}, images = new Map<ImageId, SlotImage>();
  for (const name of IMAGE_NAMES) {
    const image = readImage(kernel, state, imagePath(name));
    if (image === undefined) continue;
    names[name] = image.id;
    images.set(image.id, image);
  }
  return { names, images };
}

/** Undefined where there is no such file. Throws `IMAGE_DAMAGED` for what is no file. */
export function readImage(kernel: Kernel, state: number, path: string): SlotImage | undefined {
  let status;
  try {
    status = kernel.statat(state, path);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
    throw thrown;
  }
  if (!isRegular(status)) {
    throw new CosError("IMAGE_DAMAGED", `Cannot work on the state partition: ${path} is no regular file.`, {
      hint: "No tool of this family makes that; look at what it is, and move it away.",
    });
  }
  const fd = kernel.openat(state, path, O_RDONLY | O_NOFOLLOW);
  try {
    const bytes = new Uint8Array(SUPERBLOCK_SIZE);
    const superblock = parseExtSuperblock(bytes.subarray(0, kernel.pread(fd, bytes, SUPERBLOCK_OFFSET)));
    return {
      id: status.ino,
      uuid: superblock?.uuid,
      label: superblock?.label,
      checksummed: superblock?.hasChecksum ?? false,
      torn: superblock?.torn ?? false,
      size: status.size,
      allocated: status.blocks * 512,
      devMajor: status.devMajor,
      devMinor: status.devMinor,
    };
  } finally {
    kernel.close(fd);
  }
}

/** True where the directory of images exists. */
export function hasImageDirectory(kernel: Kernel, state: number): boolean {
  try {
    kernel.close(kernel.openat(state, IMAGE_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return true;
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR", "ELOOP")) return false;
    throw thrown;
  }
}
