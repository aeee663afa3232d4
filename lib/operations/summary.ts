/** The two slots as people and programs are told of them. Pure: from a view of the partition to values. */
import type { Digest } from "../base/digest.ts";
import type { BootState, Verification } from "../formats/record.ts";
import type { OsRelease } from "../boot/boot-files.ts";
import type { Slot } from "../state/switch.ts";
import type { View } from "./session.ts";

export interface SlotSummary {
  slot: Slot;
  present: boolean;
  /** The machine runs from this image. */
  running: boolean;
  /** Passive is the same file as active: there is nothing to roll back to. */
  sameAsActive?: boolean;
  version?: string;
  name?: string;
  source?: string;
  digest?: Digest;
  verification?: Verification;
  /** It is older than what ran well here before. */
  downgrade?: { from: string; word: string; by: string };
  installedAt?: string;
  /** `unknown` where no record tells. */
  boot?: BootState | "unknown";
  /** No filesystem is found in the image: nothing can start it, and nothing says what it was. */
  unreadable?: boolean;
  label?: string;
  /** The label is the one that old boot entries look for. */
  labelFits?: boolean;
  uuid?: string;
  /** Bytes: what the file claims, and what it takes of the partition. */
  size?: number;
  allocated?: number;
}

/** @param versions of images that the record does not know. */
export function describeSlots(
  { slots, state, record }: View,
  versions: ReadonlyMap<number, OsRelease> = new Map(),
): SlotSummary[] {
  return (["active", "passive"] as const).map((slot): SlotSummary => {
    const id = slots.names[slot], image = id === undefined ? undefined : slots.images.get(id);
    if (id === undefined || image === undefined) return { slot, present: false, running: false };
    const known = image.uuid === undefined ? undefined : record.record.images[image.uuid];
    const os = versions.get(id);
    const sameAsActive = slot === "passive" && id === slots.names.active;
    return {
      slot,
      present: true,
      // While both names are one image, the booted slot counts as active.
      running: state.running === id && !sameAsActive,
      sameAsActive,
      version: known?.version ?? os?.version,
      name: known?.name ?? os?.name,
      source: known?.source,
      digest: known?.digest as Digest | undefined,
      verification: known?.verification,
      downgrade: known?.downgrade,
      installedAt: known?.installedAt,
      boot: known?.boot ?? "unknown",
      unreadable: image.uuid === undefined,
      label: image.label,
      labelFits: sameAsActive || image.label === state.slotLabels[slot],
      uuid: image.uuid,
      size: image.size,
      allocated: image.allocated,
    };
  });
}
