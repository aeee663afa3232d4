/** Finding the partition that holds the root's image, in an initramfs: devices appear while we look, and nobody has checked them. */
import { byteStringOf } from "../base/byte-string.ts";
import { CosError, messageOf } from "../base/errors.ts";
import { USUAL_LABELS } from "../base/labels.ts";
import type { Events } from "../base/events.ts";
import { openLabelled, type StatePartition } from "../machine/state-partition.ts";
import type { RootImage, RootRequest } from "../machine/root-image.ts";
import { mendBtrfsSuperblock, mendSuperblock } from "../state/superblock.ts";
import { readImage } from "../state/slots.ts";
import { AT_FDCWD, hasErrno, isRegular, type Kernel, O_DIRECTORY, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";

export interface FoundPartition extends Disposable {
  partition: StatePartition;
  images: readonly RootImage[];
}

/** Milliseconds between two looks at the devices. */
const INTERVAL = 200;

/**
 * The partition that holds the image with the UUID, and best of all the file too; else one with the file.
 * @param seconds how long devices are waited for. Throws `NOT_IMAGE_BASED`.
 */
export async function findRootPartition(
  system: System,
  request: RootRequest,
  seconds: number,
  events: Events,
  signal: AbortSignal,
): Promise<FoundPartition> {
  const { state, recovery } = USUAL_LABELS;
  // An entry of this family names its partition.
  const labels = new Set([request.label, state, recovery].flatMap((label) => label ?? []));
  const checked = new Set<string>();
  // Counted, not read from the clock: that one jumps when the driver of the machine's own clock appears.
  for (let waited = 0;; waited += INTERVAL) {
    // Older tools made the recovery system as a copy, with the same UUID: the partition of the entry's file comes first.
    for (const both of request.uuid === undefined ? [false] : [true, false]) {
      for (const label of labels) {
        const found = await lookForIt(system, request, label, both, checked, events);
        if (found !== undefined) return found;
      }
    }
    if (waited >= seconds * 1000) break;
    if (waited === 0) {
      events({ kind: "wait", text: `No partition with ${request.file} yet; waiting for its disk`, seconds });
    }
    await system.wait(INTERVAL, signal);
  }
  throw new CosError(
    "NOT_IMAGE_BASED",
    `Cannot find ${request.file}: no filesystem labelled ${[...labels].join(" or ")} holds it.`,
    { hint: "Look at the disks (cat /proc/partitions); a missing driver belongs into the initramfs." },
  );
}

/** Among the partitions with that label: two disks may both have one. @param both it holds the file, and the image with the UUID. */
async function lookForIt(
  system: System,
  request: RootRequest,
  label: string,
  both: boolean,
  checked: Set<string>,
  events: Events,
): Promise<FoundPartition | undefined> {
  using stack = new DisposableStack();
  const opened: FoundPartition[] = [];
  let chosen: FoundPartition | undefined = undefined;
  for (const { device, open } of openLabelled(system.kernel, label)) {
    const partition = await openChecked(system, device, open, checked, events);
    if (partition === undefined) continue;
    stack.defer(() => {
      if (partition !== chosen?.partition) partition[Symbol.dispose]();
    });
    const images = readImages(system.kernel, partition.fd, request.file);
    opened.push({ partition, images, [Symbol.dispose]: () => partition[Symbol.dispose]() });
  }
  const hasUuid = ({ images }: FoundPartition) =>
    images.some(({ uuid }) => uuid !== undefined && uuid === request.uuid);
  const hasFile = ({ images }: FoundPartition) => images.some(({ file }) => file === request.file);
  chosen = both
    ? opened.find((found) => hasUuid(found) && hasFile(found))
    : opened.find(hasUuid) ?? opened.find(hasFile);
  return chosen;
}

/**
 * A filesystem that does not mount is mended and checked, once: a power cut can tear the superblock of any btrfs, and of
 * any ext4 with checksums, and `e2fsck -p` does not touch such a one.
 */
async function openChecked(
  { kernel, programs }: System,
  device: string,
  open: () => StatePartition,
  checked: Set<string>,
  events: Events,
): Promise<StatePartition | undefined> {
  const warn = (text: string) => events({ kind: "warning", text: `${device} ${text}` });
  try {
    return open();
  } catch (thrown) {
    if (checked.has(device)) return undefined;
    checked.add(device);
    warn(`does not mount: ${messageOf(thrown)}.`);
  }
  try {
    const path = byteStringOf(device), isBtrfs = mendBtrfsSuperblock(kernel, AT_FDCWD, path);
    if (isBtrfs || mendSuperblock(kernel, AT_FDCWD, path)) warn("had a torn superblock, which is mended");
    if (!isBtrfs) {
      const { status, output } = await programs.run("e2fsck", ["-p", device]);
      warn(`was checked by e2fsck, which ended with ${status}: ${output.trim().split("\n").at(-1) ?? ""}`);
    }
  } catch (thrown) {
    warn(`is not checked: ${messageOf(thrown)}.`);
  }
  try {
    return open();
  } catch (thrown) {
    warn(`still does not mount: ${messageOf(thrown)}.`);
    return undefined;
  }
}

/** All `*.img` beside the file that is asked for. */
function readImages(kernel: Kernel, state: number, file: string): RootImage[] {
  const directory = file.slice(1, file.lastIndexOf("/"));
  let fd;
  try {
    fd = kernel.openat(state, directory, O_RDONLY | O_DIRECTORY);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return [];
    throw thrown;
  }
  try {
    return kernel.readDirectory(fd).filter(({ name }) => name.endsWith(".img")).flatMap(({ name }) => {
      if (!isRegular(kernel.statat(fd, name))) return [];
      const image = readImage(kernel, fd, name);
      return image === undefined ? [] : [{ file: `/${directory}/${name}`, ino: image.id, uuid: image.uuid }];
    });
  } finally {
    kernel.close(fd);
  }
}
