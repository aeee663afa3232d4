/** A rollback: the fallback becomes the default. Nothing is fetched, and no proof is asked for: it was installed before. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { checkBootFiles } from "../boot/boot-files.ts";
import { withImageTree } from "../image/mount.ts";
import { imagePath } from "../state/slots.ts";
import { planSwitch } from "../state/switch.ts";
import { O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { noteOperation } from "./record-keeping.ts";
import { refuseNamelessRunning, Session, type StateOptions, type View } from "./session.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";

export interface RollbackResult {
  before: SlotSummary[];
  after: SlotSummary[];
  warnings: string[];
}

/** Throws `NO_FALLBACK`, `INCOMPLETE_SYSTEM` and what `Session.open` throws. */
export async function rollback(
  system: System,
  options: StateOptions,
  events: Events,
  signal: AbortSignal,
): Promise<RollbackResult> {
  await using session = await Session.open(system, options, events);
  const view = session.look(), before = describeSlots(view);
  refuseNamelessRunning(view);
  const plan = planSwitch(view.state, { kind: "rollback", arm: false });
  if (plan === undefined) throw noFallback(view);
  checkTarget(session);
  signal.throwIfAborted();
  events({ kind: "phase", phase: "switch", text: "Switching" });
  const warnings = await switchSlots(session, view, plan);
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
  return { before, after, warnings };
}

/** A system that lost its kernel must not become the default, whoever wants it. */
function checkTarget({ system: { kernel, pid }, partition }: Session): void {
  const fd = kernel.openat(partition.fd, imagePath("passive"), O_RDONLY | O_NOFOLLOW);
  try {
    withImageTree(kernel, pid, fd, (tree) => checkBootFiles(tree, imagePath("passive")));
  } finally {
    kernel.close(fd);
  }
}

function noFallback({ state: { names }, partition }: View): CosError {
  const why = names.passive === undefined ? "there is no passive.img" : "active.img and passive.img are the same image";
  return new CosError("NO_FALLBACK", `Cannot roll back on ${partition.name}: ${why}.`, {
    hint: "There is one system only; put another beside it with: cos upgrade IMAGE",
  });
}
