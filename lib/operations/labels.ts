/** The labels of the machine at hand, and the partitions beside the state partition that are known by them. */
import { isLabel, LABEL_NAMES, type LabelName, type Labels, USUAL_LABELS } from "../base/labels.ts";
import { menuLabels } from "../boot/oem-env.ts";
import type { InstallRecord } from "../formats/record.ts";
import { probe } from "../machine/block-devices.ts";
import { readTextFile } from "../machine/files.ts";
import { entryLabels, isUsualRecovery, rootRequest } from "../machine/root-image.ts";
import { openSibling, type StatePartition } from "../machine/state-partition.ts";
import { loadRecord } from "../state/record-file.ts";
import type { SlotImage, Slots } from "../state/slots.ts";
import type { ImageId } from "../state/switch.ts";
import type { System } from "../system/system.ts";

type Noted = Pick<InstallRecord, "labels">;

/** What a machine runs from, where that is an image of the partition: its boot entry is then one of the partition's. */
type Running = Pick<SlotImage, "label"> | undefined;

export function runningOf({ images }: Slots, running: ImageId | undefined): Running {
  return running === undefined ? undefined : images.get(running) ?? {};
}

/**
 * The boot menu's own word counts first: what GRUB does not find does not boot. Then what the entry of this boot has shown that it
 * matches: a new system may bring settings that the menu knows nothing of. Then the machine's settings, and, for those who do not
 * see them (an initramfs, a live CD), what was noted of them when they were in effect.
 */
export function labelsOf(
  { kernel, labels }: System,
  { fd }: StatePartition,
  running: Running,
  record?: Noted,
): Labels {
  const { labels: noted = {} } = record ?? loadRecord(kernel, fd).record;
  // It is written into superblocks: the record may have been changed by hand.
  const usable = Object.fromEntries(Object.entries(noted).filter(([, label]) => isLabel(label)));
  const entry = rootRequest(readTextFile("/proc/cmdline") ?? ""), said = labels();
  // A recovery system's settings are no better than those of any new system.
  const { active: _, passive: __, ...others } = said;
  return {
    ...USUAL_LABELS,
    ...usable,
    ...entry !== undefined && isUsualRecovery(entry) ? others : said,
    ...entry !== undefined && running !== undefined && entryLabels(entry, running.label),
    ...menuLabels(kernel, fd),
  };
}

/** What the partition is called, whoever says what. Undefined where that cannot be read. */
export function ownLabel({ kernel }: System, { blockDevice }: StatePartition): string | undefined {
  return blockDevice === undefined ? undefined : probe(kernel, `/dev/${blockDevice}`)?.label;
}

/** What is to be noted of them. @param record what is noted: it counts where the settings that are in effect are not the machine's own. */
export function unusualLabels(
  system: System,
  partition: StatePartition,
  running: Running,
  record: Noted,
): Noted["labels"] {
  // Seen from outside, what was noted stays: a live CD's settings are those of another system.
  const labels = running === undefined
    ? { ...labelsOf(system, partition, running, record), ...record.labels }
    : labelsOf(system, partition, running, {});
  const unusual = LABEL_NAMES.filter((name) => labels[name] !== USUAL_LABELS[name]);
  return unusual.length === 0 ? undefined : Object.fromEntries(unusual.map((name) => [name, labels[name]]));
}

/** Undefined where there is none on the state partition's disk. */
export function openNamed(
  system: System,
  partition: StatePartition,
  name: LabelName & ("recovery" | "oem" | "persistent"),
  write: boolean,
): StatePartition | undefined {
  return openSibling(system.kernel, partition, partitionLabels(system, partition)[name], write);
}

/** For those who ask for no slot's. */
export function partitionLabels(system: System, partition: StatePartition): Omit<Labels, "active" | "passive"> {
  return labelsOf(system, partition, undefined);
}
