/** `cos pin`: a system keeps a name of its own, so that no upgrade, rollback or reset gives it up. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { keptPath, linkKept, readKept } from "../state/kept.ts";
import { imagePath } from "../state/slots.ts";
import { removeIfThere } from "../system/plain-files.ts";
import type { System } from "../system/system.ts";
import { describeKept, type KeptSummary, meantBy } from "./keeping.ts";
import { noteOperation } from "./record-keeping.ts";
import { Session, type StateOptions, type View } from "./session.ts";

export interface PinSettings extends StateOptions {
  /** `active`, `passive`, or a version, UUID or digest, or how one of the latter two begins. */
  of: string;
  /** It is an image as others again: without a slot it is kept until an upgrade gives it up. */
  remove: boolean;
}

export interface PinResult {
  of: KeptSummary;
  changed: boolean;
}

/** Throws `NO_FALLBACK` where no system is called so, and what `Session.open` throws. */
export async function pin(system: System, { of, remove, ...options }: PinSettings, events: Events): Promise<PinResult> {
  await using session = await Session.open(system, options, events);
  const doing = remove ? "unpin" : "pin", view = session.look(), { kernel } = system, { fd } = session.partition;
  const found = chosen(view, systemsOf(session, view), of, doing), { uuid, path, inSlot } = found;
  const [kept, pinned] = [keptPath(uuid), keptPath(uuid, { pinned: true })];
  const changed = found.pinned === remove;
  if (changed) {
    if (!remove) {
      // Its other names stay until this one is there: a cut between leaves it with both.
      linkKept(kernel, fd, path, pinned);
      removeIfThere(kernel, fd, kept);
    } else if (inSlot) kernel.unlinkat(fd, pinned);
    else {
      // Where a cut has left both names, renaming one over the other would do nothing: they are of one file.
      removeIfThere(kernel, fd, kept);
      kernel.renameat(fd, pinned, fd, kept);
    }
    await session.checkpoint();
  }
  const [summary] = describeKept(view, [{ uuid, pinned: !remove }]);
  if (summary === undefined) throw new Error("one system has one summary");
  if (changed) {
    const at = new Date(system.now()).toISOString();
    noteOperation(session, { kind: doing, at, outcome: "done", image: summary.version ?? uuid });
  }
  return { of: summary, changed };
}

interface Named {
  uuid: string;
  pinned: boolean;
  /** From the state partition. */
  path: string;
  inSlot: boolean;
  slots: readonly string[];
}

/** Each image once. */
function systemsOf({ system: { kernel }, partition: { fd } }: Session, { slots: { names, images } }: View): Named[] {
  const kept = readKept(kernel, fd), found = new Map<string, Named>();
  for (const slot of ["active", "passive"] as const) {
    const id = names[slot], uuid = id === undefined ? undefined : images.get(id)?.uuid;
    if (uuid === undefined) continue;
    const pinned = kept.some((image) => image.uuid === uuid && image.pinned), slots = found.get(uuid)?.slots ?? [];
    found.set(uuid, { uuid, pinned, path: imagePath(slot), inSlot: true, slots: [...slots, slot] });
  }
  for (const { uuid, pinned } of kept) {
    if (!found.has(uuid)) found.set(uuid, { uuid, pinned, path: keptPath(uuid, { pinned }), inSlot: false, slots: [] });
  }
  return [...found.values()];
}

function chosen(view: View, systems: readonly Named[], of: string, doing: "pin" | "unpin"): Named {
  const bySlot = systems.find(({ slots }) => slots.includes(of)), known = describeKept(view, systems);
  const [first, second] = meantBy(of, known);
  const image = bySlot ?? (second === undefined ? systems.find(({ uuid }) => uuid === first?.uuid) : undefined);
  if (image !== undefined) return image;
  const names = known.map(({ version, uuid }) => version ?? uuid).join(", ") || "none";
  const why = first === undefined ? "no system here is called that" : "several systems are called that";
  throw new CosError("NO_FALLBACK", `Cannot ${doing} ${of} on ${view.partition.name}: ${why}.`, {
    hint: `Here are: ${names}; or say active or passive. See: cos status`,
  });
}
