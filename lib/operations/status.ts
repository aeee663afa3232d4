/** What this machine runs, what it would boot next, and what it would fall back to. Changes nothing. */
import { SystemCallError } from "../base/errors.ts";
import { type OsRelease, readOsRelease } from "../boot/boot-files.ts";
import { type CountObstacle } from "../boot/counter.ts";
import { withImageTree } from "../image/mount.ts";
import type { OperationRecord } from "../formats/record.ts";
import { openStatePartition } from "../machine/state-partition.ts";
import { readKept } from "../state/kept.ts";
import { imagePath } from "../state/slots.ts";
import { planRepair } from "../state/switch.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { describeKept, type KeptSummary } from "./keeping.ts";
import { look, requireImages, requireRoot, type StateOptions, type View } from "./session.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { obstacleOf, recordOf, triesWithoutIt } from "./trial.ts";

export interface Status {
  partition: string;
  slots: SlotSummary[];
  /** Systems that are kept besides. */
  kept: KeptSummary[];
  /** Both names are one image: there is nothing to roll back to. */
  oneImage: boolean;
  /** The running image is neither slot any more. */
  runningIsNoSlot: boolean;
  /** GRUB falls back by itself when the active system fails. */
  fallbackArmed: boolean;
  tries: string;
  /** So often the active system was started on trial while the passive one runs now. */
  triesWithoutIt: number;
  /** GRUB on this machine counts failed boots. */
  counts: boolean;
  /** Why it does not. */
  obstacle?: { code: CountObstacle; text: string };
  /** The active system is not counted because it has no unit that marks it good. */
  cannotMark: boolean;
  freeBytes: number;
  record: "present" | "absent" | "damaged" | "newer";
  /** An earlier run was cut short; the next command that writes mends it. */
  unfinished: boolean;
  lastOperation?: OperationRecord;
}

/** Throws `NOT_ROOT`, `NOT_IMAGE_BASED` and what `openStatePartition` throws. */
export function status(system: System, { state }: StateOptions): Status {
  requireRoot(system);
  using partition = openStatePartition(system, state, false);
  requireImages(system, partition);
  const view = look(system, partition), { names, running } = view.state;
  return {
    partition: partition.name,
    slots: describeSlots(view, unknownVersions(system, view)),
    kept: describeKept(view, readKept(system.kernel, partition.fd)),
    oneImage: names.active !== undefined && names.active === names.passive,
    runningIsNoSlot: running !== undefined && running !== names.active && running !== names.passive,
    fallbackArmed: view.state.counts && view.state.tries !== "",
    tries: view.state.tries,
    triesWithoutIt: triesWithoutIt(view),
    counts: view.state.counts,
    obstacle: obstacleOf(view),
    cannotMark: recordOf(view, "active")?.image?.marksItself === false,
    freeBytes: system.kernel.fstatfs(partition.fd).available,
    record: view.record.condition,
    unfinished: planRepair(view.state).length > 0,
    lastOperation: view.record.record.operations.at(-1),
  };
}

/** Images that the record does not know, made by other tools, are asked themselves. */
function unknownVersions({ kernel, pid }: System, { slots, record, partition }: View): Map<number, OsRelease> {
  const found = new Map<number, OsRelease>();
  for (const slot of ["active", "passive"] as const) {
    const id = slots.names[slot], image = id === undefined ? undefined : slots.images.get(id);
    if (image?.uuid === undefined || found.has(image.id) || record.record.images[image.uuid] !== undefined) continue;
    const fd = kernel.openat(partition.fd, imagePath(slot), O_RDONLY | O_NOFOLLOW);
    try {
      found.set(image.id, withImageTree(kernel, pid, fd, readOsRelease));
    } catch (thrown) {
      // An image that does not mount has no version to show; that it does not is no reason to show nothing at all.
      if (!(thrown instanceof SystemCallError)) throw thrown;
    } finally {
      kernel.close(fd);
    }
  }
  return found;
}
