/** A rollback: the fallback becomes the default. Nothing is fetched, and no proof is asked for: it was installed before. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { planSwitch } from "../state/switch.ts";
import type { System } from "../system/system.ts";
import { noteImages, noteOperation, onTrial } from "./record-keeping.ts";
import { refuseNamelessRunning, Session, type StateOptions, type View } from "./session.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";
import { CANNOT_MARK, notArmed, noteFallback, recordOf, refuseBadSystem } from "./trial.ts";

export interface RollbackResult {
  before: SlotSummary[];
  after: SlotSummary[];
}

export interface RollbackSettings extends StateOptions {
  /** Also to a system that was tried here before and fell back. */
  retryBad: boolean;
}

/** Throws `NO_FALLBACK`, `INCOMPLETE_SYSTEM`, `KNOWN_BAD` and what `Session.open` throws. */
export async function rollback(
  system: System,
  settings: RollbackSettings,
  events: Events,
  signal: AbortSignal,
): Promise<RollbackResult> {
  await using session = await Session.open(system, settings, events);
  session.inspect();
  noteFallback(session);
  const view = session.look(), before = describeSlots(view);
  refuseNamelessRunning(view);
  const arm = armTarget(view);
  const plan = planSwitch(view.state, { kind: "rollback", arm: arm === "yes" });
  if (plan === undefined) throw noFallback(view);
  // A system that lost its kernel must not become the default, whoever wants it.
  if (view.state.images.get(view.state.names.passive ?? -1)?.broken) throw brokenTarget(view);
  const found = recordOf(view, "passive");
  refuseBadSystem(view, found?.image, settings.retryBad);
  signal.throwIfAborted();
  const warnings = arm === "cannot" ? [notArmed(CANNOT_MARK)] : [];
  for (const text of warnings) events({ kind: "warning", text });
  const forget = noteImages(
    session,
    arm === "yes" && found?.image ? { [found.uuid]: onTrial(found.image) } : {},
  );
  events({ kind: "phase", phase: "switch", text: "Switching" });
  try {
    warnings.push(...await switchSlots(session, view, plan));
  } catch (thrown) {
    session.afterwards("taking back the note in the record", undefined, forget);
    throw thrown;
  }
  const version = (summaries: SlotSummary[]) => summaries.find(({ slot }) => slot === "active")?.version;
  const after = session.afterwards("looking at the result", [], () => describeSlots(session.look()));
  noteOperation(session, {
    kind: "rollback",
    at: new Date(system.now()).toISOString(),
    outcome: "done",
    image: version(after),
    from: version(before),
    warnings: warnings.length > 0 ? warnings : undefined,
  });
  return { before, after };
}

/** What ran well is not put on trial again; what cannot say that it runs well must not be. */
function armTarget({ state, inspected }: View): "yes" | "no" | "cannot" {
  const { passive } = state.names;
  if (!state.counts || passive === undefined || state.images.get(passive)?.ranWell === true) return "no";
  return inspected.marking.has(passive) ? "yes" : "cannot";
}

function noFallback({ state: { names }, partition }: View): CosError {
  const why = names.passive === undefined ? "there is no passive.img" : "active.img and passive.img are the same image";
  return new CosError("NO_FALLBACK", `Cannot roll back on ${partition.name}: ${why}.`, {
    hint: "There is one system only; put another beside it with: cos upgrade IMAGE",
  });
}

function brokenTarget({ partition }: View): CosError {
  return new CosError("INCOMPLETE_SYSTEM", `Cannot roll back on ${partition.name}: passive.img could not boot.`, {
    hint:
      "It is damaged, or has no kernel, initrd or boot arguments; put a whole system in its place with: cos upgrade IMAGE",
  });
}
