/** `cos switch`: going to a system that is here already: the passive one, or one that was kept. */
import { CosError } from "../base/errors.ts";
import { checkBootFiles } from "../boot/boot-files.ts";
import { marksItself } from "../boot/marks-itself.ts";
import type { Events } from "../base/events.ts";
import { withImageTree } from "../image/mount.ts";
import { type KeptImage, readKept } from "../state/kept.ts";
import { imagePath } from "../state/slots.ts";
import { planSwitch, slotToKeep } from "../state/switch.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { removeTransition } from "./install-image.ts";
import { describeKept, keepLost, meantBy, prune } from "./keeping.ts";
import { noteImages, noteOperation, onTrial } from "./record-keeping.ts";
import { rollback } from "./rollback.ts";
import { refuseNamelessRunning, Session, type StateOptions, type View } from "./session.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";
import { noteFallback, refuseBadSystem, refuseOnTrial } from "./trial.ts";

export interface SwitchToSettings extends StateOptions {
  /** `passive`, or the version, UUID or digest of a kept system, or how one of them begins. */
  to: string;
  acceptRunning: boolean;
  /** Also to a system that was tried here before and fell back. */
  retryBad: boolean;
}

/** Throws `NO_FALLBACK`, `INCOMPLETE_SYSTEM`, `ON_TRIAL`, `KNOWN_BAD` and what `Session.open` throws. */
export async function switchTo(
  system: System,
  settings: SwitchToSettings,
  events: Events,
  signal: AbortSignal,
): Promise<SlotSummary[]> {
  if (settings.to === "passive") return (await rollback(system, settings, events, signal)).after;
  await using session = await Session.open(system, settings, events);
  session.inspect();
  noteFallback(session);
  const view = session.look(), { kernel } = system, { fd } = session.partition;
  refuseNamelessRunning(view);
  const target = chosen(view, readKept(kernel, fd), settings.to);
  refuseOnTrial(view, settings.acceptRunning);
  const marks = inspect(session, target), known = view.record.record.images[target.uuid];
  refuseBadSystem(view, known, settings.retryBad);
  signal.throwIfAborted();
  kernel.linkat(fd, target.path, fd, imagePath("transition"));
  try {
    await session.checkpoint();
    const ready = session.look(),
      arm = ready.state.counts && marks && known?.boot !== "good",
      keeps = slotToKeep(ready.state);
    const plan = planSwitch(ready.state, { kind: "upgrade", arm });
    if (plan === undefined || keeps === undefined) throw new Error("a state with a slot to keep has a plan");
    // As many stay kept as were: what is given up takes the place of the one that is chosen.
    const count = readKept(kernel, fd).length + 2, takeBack = await keepLost(session, ready, keeps, count);
    const forget = noteImages(session, arm && known !== undefined ? { [target.uuid]: onTrial(known) } : {});
    events({ kind: "phase", phase: "switch", text: "Switching" });
    let warnings: string[];
    try {
      warnings = await switchSlots(session, ready, plan);
    } catch (thrown) {
      await takeBack();
      session.afterwards("taking back the note in the record", undefined, forget);
      throw thrown;
    }
    warnings.push(...await prune(session, count));
    noteOperation(session, {
      kind: "switch",
      at: new Date(system.now()).toISOString(),
      outcome: "done",
      image: known?.version ?? target.uuid,
      ...warnings.length > 0 && { warnings },
    });
  } catch (thrown) {
    removeTransition(session);
    throw thrown;
  }
  return session.afterwards("looking at the result", [], () => describeSlots(session.look()));
}

function chosen(view: View, all: readonly KeptImage[], to: string): KeptImage {
  const inSlot = new Set([view.slots.names.active, view.slots.names.passive]);
  const kept = all.filter(({ id }) => !inSlot.has(id)), known = describeKept(view, kept);
  const names = known.map(({ version, uuid }) => version ?? uuid).join(", ") || "none";
  const [first, second] = meantBy(to, known);
  const image = second === undefined ? kept.find(({ uuid }) => uuid === first?.uuid) : undefined;
  if (image !== undefined) return image;
  throw new CosError(
    "NO_FALLBACK",
    `Cannot switch to ${to} on ${view.partition.name}: ${
      first === undefined ? "no such system is kept" : "several kept systems are called that"
    }.`,
    {
      hint: `Kept besides the two slots: ${names}. The passive system: cos switch passive`,
    },
  );
}

/** A system that lost its kernel must not become the default, whoever wants it. Returns whether it marks itself good. */
function inspect({ system: { kernel, pid }, partition }: Session, { path }: KeptImage): boolean {
  const fd = kernel.openat(partition.fd, path, O_RDONLY | O_NOFOLLOW);
  try {
    return withImageTree(kernel, pid, fd, (tree) => {
      checkBootFiles(tree, path);
      return marksItself(kernel, tree);
    });
  } finally {
    kernel.close(fd);
  }
}
