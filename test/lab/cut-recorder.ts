/** Records operations of the real program, one behind the other; each may go on from the disk that another has left. */
import { boot } from "./booted.ts";
import type { KnownImage, MachineKind } from "./cut-boots.ts";
import { activeImage, asNew } from "./cut-disks.ts";
import type { Keeping } from "./cut-keeping.ts";
import { type CutLab, type Operation, record, type Work } from "./power-cut.ts";
import type { Slot } from "./disk-views.ts";

export interface Start extends Partial<Pick<MachineKind, "counts" | "armed" | "matchesLabels">> {
  base: string;
  /** The images that are on it. */
  on: readonly KnownImage[];
  work: Work;
  /** The work mounts the partition by itself. */
  mounts?: true;
  writesParts?: true;
  keeping?: Keeping;
}

export interface Made {
  disk: string;
  /** The image that it makes, taken for one that ran well. */
  image: KnownImage;
}

export interface Recorder {
  lab: CutLab;
  operations: Operation[];
}

export async function add({ lab, operations }: Recorder, name: string, start: Start): Promise<string> {
  const { base, on, work, mounts = false, ...kind } = start;
  const [log, disk] = await record(lab, base, fileName(name), work, mounts ? null : "rw");
  operations.push({
    ...{ name, base, log, images: [...on], fromNothing: on.length === 0 },
    ...{ counts: false, armed: false, matchesLabels: true, writesParts: false, notes: true, ...kind },
  });
  return disk;
}

/** Of an operation after which another image is active. */
export async function addMaking(recorder: Recorder, name: string, makes: string, start: Start): Promise<Made> {
  const disk = await add(recorder, name, start), image = await activeImage(recorder.lab, disk, makes);
  recorder.operations.at(-1)?.images.push(...asNew([image]));
  return { disk, image };
}

export const fileName = (name: string) => name.replaceAll(/[ ,:]+/g, "-");

/**
 * By the program in the system of that slot, whose initramfs has mounted the partition read-only.
 * @param entry what GRUB told the kernel.
 */
export const running = (lab: CutLab, slot: Slot, words: string[], entry?: string): Work => async (device) => {
  await using machine = await boot({ state: device, directory: lab.directory }, slot, { cmdline: entry });
  const { status, err } = await machine.cos(...words.map((word) => word.replace(lab.directory, "/tmp")));
  if (status !== 0) throw new Error(`cos ${words.join(" ")} ended with ${status}: ${err}`);
};
