/**
 * What a machine would boot from one state of its disk, told by what GRUB and Linux each find there. Pure. The choice of the root's
 * image is the program's own (`cos boot root`): it is what is judged.
 */
import { rootCandidates } from "../../lib/machine/root-image.ts";
import { type LinuxFiles, type Slot, SLOTS } from "./disk-views.ts";
import type { GrubView } from "./grub-reader.ts";

/** An image as it must be whenever a slot's name leads to it. */
export interface KnownImage {
  name: string;
  digest: string;
  /** Digest of the files that GRUB reads in it, and of its whole tree. */
  boot: string;
  tree: string;
  /** It ran well before the operation. */
  good: boolean;
}

export interface MachineKind {
  images: readonly KnownImage[];
  /** There was no system before: until the operation ends there may be none. */
  fromNothing: boolean;
  /** GRUB counts tries on this machine. */
  counts: boolean;
  /** What is new must be counted by GRUB: it can mark itself good. */
  armed: boolean;
  /** Boot entries match the label in the image. */
  matchesLabels: boolean;
}

/**
 * What leads Linux to its root. `uuid`: the fragment and the initramfs module that `cos` ships, that is the UUID of the image that
 * GRUB took the kernel from; `name`: an older grub.cfg, that is the file's name alone, and on some the label in it.
 */
export type RootBy = "uuid" | "name";

export interface Boots {
  problems: string[];
  /** What GRUB starts: the entry, and the image that its kernel is in. */
  chosen?: { slot: Slot; kernel: KnownImage };
  /** GRUB's kernel and Linux's root come from two images. */
  mixed?: string;
  /** Tries must be spent before a system is reached. */
  spent: boolean;
}

export const LABELS = { active: "COS_ACTIVE", passive: "COS_PASSIVE" } as const;

/** The image that is mounted as the root; `known` tells which are whole. */
function rootOf(
  slot: Slot,
  by: RootBy,
  grub: GrubView,
  linux: LinuxFiles,
  known: (digest: string | undefined) => KnownImage | undefined,
): KnownImage | undefined {
  if (by === "name") return known(linux.get(`${slot}.img`)?.digest);
  const images = [...linux].filter(([name]) => /^[^/]+\.img$/.test(name))
    .map(([name, { ino, uuid, digest }]) => ({ file: `/cOS/${name}`, ino, uuid, digest }));
  const request = { uuid: grub[slot].uuid, file: `/cOS/${slot}.img`, counted: false };
  // One that does not mount is passed over; a slot's name never leads to such a one, and that is checked elsewhere.
  const found = rootCandidates(request, images).map(({ ino }) => images.find((image) => image.ino === ino));
  return found.map((image) => known(image?.digest)).find((image) => image !== undefined);
}

interface Entry {
  kernel?: KnownImage;
  root?: KnownImage;
  /** Its root is found by the label that the entry names. */
  fits: boolean;
}

/**
 * @param tries `cos_tries` as GRUB reads it; "" where nothing counts.
 * @param last the operation has ended: nothing may be half done any more.
 */
export function judgeBoots(
  { images, fromNothing, counts, armed, matchesLabels }: MachineKind,
  by: RootBy,
  { grub, linux, tries, last }: { grub: GrubView; linux: LinuxFiles; tries: string; last: boolean },
): Boots {
  const problems: string[] = [];
  const entry = (slot: Slot): Entry => ({
    kernel: images.find(({ boot }) => boot === grub[slot].boot),
    root: rootOf(slot, by, grub, linux, (wanted) => images.find(({ digest }) => digest === wanted)),
    fits: by === "uuid" || !matchesLabels || linux.get(`${slot}.img`)?.label === LABELS[slot],
  });
  const entries = { active: entry("active"), passive: entry("passive") };
  // The fallback entry is the default where no try is left; an entry that GRUB cannot load leads to the next.
  const rests = counts && !["", "1", "2", "3"].includes(tries);
  const chosen = SLOTS.find((slot) => entries[slot].kernel !== undefined && (!rests || slot === "passive"));
  if (chosen === undefined) {
    if (!fromNothing || last) problems.push("GRUB finds nothing to boot");
    return { problems, spent: false };
  }
  const { kernel, root } = entries[chosen] as Entry & { kernel: KnownImage },
    other = entries[chosen === "active" ? "passive" : "active"];
  // On btrfs GRUB may go by a newer copy of the superblock than Linux does.
  const begun = fromNothing && !last && !linux.has(`${chosen}.img`);
  if (root === undefined && !begun) problems.push(`GRUB boots ${chosen}.img, and Linux finds no whole image there`);
  if (root?.good !== true && !fromNothing && !(other.kernel?.good === true && other.root?.good === true)) {
    problems.push("a new system, and no way back");
  }
  if (root !== undefined && root.boot !== kernel.boot) {
    const mixed = `the kernel of ${kernel.name}, the root of ${root.name}`;
    if (last) problems.push(`${mixed}, though the operation has ended`);
    return { problems, chosen: { slot: chosen, kernel }, mixed, spent: false };
  }
  // Without a counter it is a person who chooses another entry when a system does not come up.
  if (!counts) return { problems, spent: false };
  const counted = /^[123]$/.test(tries), counter = `the counter is "${tries}"`;
  const order: Slot[] = counted && chosen === "active" ? ["active", "passive"] : [chosen];
  const reached = order.find((slot) => comesUp(entries[slot]));
  if (reached === undefined) problems.push(`${counter}, and no entry that is reached fits its label`);
  else if (entries[reached].root?.good !== true) {
    if (!comesUp(entries.passive) || entries.passive.root?.good !== true) {
      problems.push(`${counter}, and the way back does not fit its label`);
    }
    if (armed && !counted) problems.push(`${counter}, and nothing leads back by itself`);
  }
  return { problems, spent: reached !== undefined && reached !== order[0] };
}

function comesUp({ kernel, root, fits }: Entry): boolean {
  return fits && root !== undefined && root.boot === kernel?.boot;
}
