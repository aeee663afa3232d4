/**
 * Which image an initramfs mounts as the root. Pure: from what GRUB passed on and the images that are there.
 *
 * GRUB reads the state partition without replaying its journal, so for one boot after a power cut a name may lead it to another
 * image than Linux finds there. The fragment of `cos boot install` therefore passes on the UUID of the image that it took the
 * kernel from, and that image is the root, whatever its name is by now. Images that older tools copied share a UUID, and their
 * contents with it: a tie does no harm.
 */
import { type Labels, USUAL_LABELS } from "../base/labels.ts";
import { parseKernelArguments } from "../formats/kernel-arguments.ts";

export interface RootRequest {
  /** `cos.image_uuid=`: of the filesystem that GRUB took the kernel from, lower-case. */
  uuid?: string;
  /** `cos-img/filename=`: the entry's image, like `/cOS/active.img`. */
  file: string;
  /** `root=LABEL=`: of the state partition in newer entries, of the image in older ones. */
  label?: string;
  /** GRUB has taken a try off for this boot (`cos.tries_left=`): a hang has to end. */
  counted: boolean;
  /** `cos.watchdog=`: seconds until a counted boot that has not been marked good ends; 0 for never. */
  watchdog?: number;
}

/** Undefined where the command line names no image: another kind of root, which is not for us. */
export function rootRequest(commandLine: string): RootRequest | undefined {
  const words = parseKernelArguments(commandLine), file = words.get("cos-img/filename");
  if (file === undefined || !/^\/[^/]+\/[^/]+$/.test(file)) return undefined;
  const uuid = words.get("cos.image_uuid")?.toLowerCase(), watchdog = words.get("cos.watchdog") ?? "";
  return {
    uuid: uuid === "" ? undefined : uuid,
    file,
    label: /^LABEL=(.+)$/.exec(words.get("root") ?? "")?.[1],
    counted: words.has("cos.tries_left"),
    watchdog: /^[0-9]{1,5}$/.test(watchdog) ? Number(watchdog) : undefined,
  };
}

/** A file that is a slot's; the slot's name is its first part. */
export const SLOT_FILE = /\/(active|passive)\.img$/;

/**
 * The labels of images that the entry of this boot matches; none where it matches no image's. An entry that knows its image by the
 * usual label stands in a menu that has the usual ones; another label may be the state partition's, which newer entries name.
 * @param inside the label in the image that runs.
 */
export function entryLabels(
  { file, label }: RootRequest,
  inside: string | undefined,
): Partial<Pick<Labels, "active" | "passive">> {
  const { active, passive } = USUAL_LABELS, slot = SLOT_FILE.exec(file)?.[1];
  if (slot !== "active" && slot !== "passive") return {};
  if (label === USUAL_LABELS[slot]) return { active, passive };
  return label !== undefined && label === inside ? { [slot]: label } : {};
}

/** The entry of this boot is a recovery system's, in a menu that has the usual labels. */
export function isUsualRecovery({ file, label }: RootRequest): boolean {
  return file.endsWith("/recovery.img") && label === USUAL_LABELS.system;
}

export interface RootImage {
  /** Its path on the partition, like `/cOS/active.img`. */
  file: string;
  ino: number;
  /** Of the filesystem inside, lower-case. */
  uuid?: string;
}

export interface RootCandidate extends RootImage {
  why:
    /** The kernel came from it. */
    | "kernel"
    /** The entry names it. */
    | "entry"
    /** The other slot. */
    | "other";
}

/** In the order in which they are to be tried, each image once. Only what a slot's name led to may be an "other". */
export function rootCandidates(request: RootRequest, images: readonly RootImage[]): RootCandidate[] {
  const { uuid, file } = request, candidates: RootCandidate[] = [];
  const add = (image: RootImage | undefined, why: RootCandidate["why"]) => {
    if (image !== undefined && !candidates.some(({ ino }) => ino === image.ino)) candidates.push({ ...image, why });
  };
  const named = images.find((image) => image.file === file);
  if (uuid !== undefined) {
    const same = images.filter((image) => image.uuid === uuid);
    add(same.find((image) => image.file === file) ?? same[0], "kernel");
  }
  add(named, "entry");
  if (SLOT_FILE.test(file)) {
    for (const slot of ["active", "passive"]) {
      add(images.find((image) => image.file === file.replace(/[^/]+$/, `${slot}.img`)), "other");
    }
  }
  return candidates;
}
