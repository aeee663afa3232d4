/** The labels of the machine at hand, and the partitions beside the state partition that are known by them. */
import { isLabel, LABEL_NAMES, type LabelName, type Labels, USUAL_LABELS } from "../base/labels.ts";
import { menuLabels } from "../boot/oem-env.ts";
import type { InstallRecord } from "../formats/record.ts";
import { readTextFile } from "../machine/files.ts";
import { entryLabels, rootRequest } from "../machine/root-image.ts";
import { openSibling, type StatePartition } from "../machine/state-partition.ts";
import { loadRecord } from "../state/record-file.ts";
import type { System } from "../system/system.ts";

type Noted = Pick<InstallRecord, "labels">;

/**
 * The boot menu's own word counts first: what GRUB does not find does not boot. Then what the entry of this boot has shown that it
 * matches: a new system may bring settings that the menu knows nothing of. Then the machine's settings, and, for those who do not
 * see them (an initramfs, a live CD), what was noted of them when they were in effect.
 * @param isRunning this machine runs from an image of the partition, so its boot entry is one of the partition's.
 */
export function labelsOf(
  { kernel, labels }: System,
  { fd }: StatePartition,
  isRunning: boolean,
  record?: Noted,
): Labels {
  const { labels: noted = {} } = record ?? loadRecord(kernel, fd).record;
  // It is written into superblocks: the record may have been changed by hand.
  const usable = Object.fromEntries(Object.entries(noted).filter(([, label]) => isLabel(label)));
  const said: Labels = { ...USUAL_LABELS, ...usable, ...labels() }, menu = menuLabels(kernel, fd);
  const entry = isRunning ? rootRequest(readTextFile("/proc/cmdline") ?? "") : undefined;
  return { ...said, ...entry !== undefined && entryLabels(entry, menu.state ?? said.state), ...menu };
}

/** What is to be noted of them. @param record what is noted: it counts where the settings that are in effect are not the machine's own. */
export function unusualLabels(
  system: System,
  partition: StatePartition,
  isRunning: boolean,
  record: Noted,
): Noted["labels"] {
  const labels = labelsOf(system, partition, isRunning, isRunning ? {} : record);
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
  return labelsOf(system, partition, false);
}
