/** `cos boot status`: what GRUB would do at the next boot, and why. Changes nothing. */
import type { CountObstacle } from "../boot/counter.ts";
import type { BadSystem } from "../formats/record.ts";
import { openStatePartition } from "../machine/state-partition.ts";
import type { Slot } from "../state/switch.ts";
import type { System } from "../system/system.ts";
import { inspectImages } from "./inspect-images.ts";
import { look, requireImages, requireRoot, type StateOptions } from "./session.ts";
import { hasFallenBack, obstacleOf, recordOf, runningIsOnTrial } from "./trial.ts";

export interface BootStatus {
  partition: string;
  /** GRUB counts the boots of a system that is on trial. */
  counts: boolean;
  /** Why it does not. */
  obstacle?: { code: CountObstacle; text: string };
  /** `cos_tries`. */
  tries: string;
  /** The slot that the default entry starts next. */
  next: Slot;
  running?: Slot;
  runningIsOnTrial: boolean;
  /** Active failed, and passive runs in its place. */
  fellBack: boolean;
  /** Whether each slot's system says by itself that it runs well; absent where there is none. */
  marksItself: { active?: boolean; passive?: boolean };
  failedChecks: { name: string; why: string; at: string }[];
  knownBad: BadSystem[];
}

export function bootStatus(system: System, { state }: StateOptions): BootStatus {
  requireRoot(system);
  using partition = openStatePartition(system, state, false);
  requireImages(system, partition);
  const first = look(system, partition), view = look(system, partition, inspectImages(system, partition, first.slots));
  const { counts, tries, names, running } = view.state;
  const marks = (slot: Slot) => names[slot] === undefined ? undefined : view.inspected.marking.has(names[slot]);
  return {
    partition: partition.name,
    counts,
    obstacle: obstacleOf(view),
    tries,
    next: names.active === undefined || counts && tries === "0" ? "passive" : "active",
    running: running === undefined ? undefined : (["active", "passive"] as const).find((s) => names[s] === running),
    runningIsOnTrial: runningIsOnTrial(view),
    fellBack: hasFallenBack(view),
    marksItself: { active: marks("active"), passive: marks("passive") },
    failedChecks: recordOf(view, "active")?.image?.failedChecks ?? [],
    knownBad: view.record.record.bad ?? [],
  };
}
