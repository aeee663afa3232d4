/** The labels of the machine at hand, and the partitions beside the state partition that are known by them. */
import { isLabel, LABEL_NAMES, type LabelName, type Labels, USUAL_LABELS } from "../base/labels.ts";
import { menuLabels } from "../boot/oem-env.ts";
import type { InstallRecord } from "../formats/record.ts";
import { openSibling, type StatePartition } from "../machine/state-partition.ts";
import { loadRecord } from "../state/record-file.ts";
import type { System } from "../system/system.ts";

type Noted = Pick<InstallRecord, "labels">;

/**
 * The boot menu's own word counts first: what GRUB does not find does not boot. Then the machine's settings, and, for those who do
 * not see them (an initramfs, a live CD), what was noted of them when they were in effect.
 */
export function labelsOf({ kernel, labels }: System, { fd }: StatePartition, record?: Noted): Labels {
  const { labels: noted = {} } = record ?? loadRecord(kernel, fd).record;
  // It is written into superblocks: the record may have been changed by hand.
  const usable = Object.fromEntries(Object.entries(noted).filter(([, label]) => isLabel(label)));
  return { ...USUAL_LABELS, ...usable, ...labels(), ...menuLabels(kernel, fd) };
}

/** What is to be noted of them. @param record where the settings that are in effect here are not the machine's own. */
export function unusualLabels(system: System, partition: StatePartition, record: Noted = {}): Noted["labels"] {
  const labels = labelsOf(system, partition, record);
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
  return openSibling(system.kernel, partition, labelsOf(system, partition)[name], write);
}
