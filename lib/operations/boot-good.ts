/** `cos boot good`: the running system says that it runs well, so that GRUB stops counting its tries. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { CHECKS_DIRECTORY, listChecks, runCheck } from "../boot/checks.ts";
import type { FailedCheck } from "../formats/record.ts";
import type { System } from "../system/system.ts";
import { endBootWatch } from "./boot-watch.ts";
import { clearNextEntry } from "./next-entry.ts";
import { patiently } from "./patiently.ts";
import { noteOperation } from "./record-keeping.ts";
import { Session, type StateOptions, type View } from "./session.ts";
import { markGood, noteFallback, recordOf } from "./trial.ts";

export interface GoodSettings extends StateOptions {
  /** Run the operator's checks first. */
  checks: boolean;
  /** Milliseconds that each of them may take. */
  checkLimit: number;
}

export type GoodOutcome =
  | "marked"
  /** It was marked before, and nothing counts. */
  | "already"
  /** The passive system runs because active failed; that is remembered. */
  | "fell-back"
  /** What runs is not what the default entry starts: nothing was done. */
  | "not-active";

/** Throws `CHECK_FAILED`, and what `Session.open` throws. */
export async function bootGood(
  system: System,
  settings: GoodSettings,
  events: Events,
  signal: AbortSignal,
): Promise<GoodOutcome> {
  endBootWatch(system, events);
  {
    // What a cut run has left is mended before anything is judged: it may count a system that is good.
    await using session = await openPatiently(system, settings, events, signal);
    await clearNextEntry(session);
    const outcome = noteFallback(session) ? "fell-back" : nothingToMark(session.look());
    if (outcome !== undefined) return outcome;
    if (!settings.checks) {
      await markGood(session, "good");
      return "marked";
    }
  }
  // Without the lock: checks may take minutes, and may ask cos themselves.
  {
    const failed = await runChecks(system, settings, events, signal);
    if (failed.length > 0) {
      await using session = await openPatiently(system, settings, events, signal);
      noteFailed(session, failed);
      throw checkFailed(failed);
    }
  }
  await using session = await openPatiently(system, settings, events, signal);
  // Looked at again: meanwhile an upgrade may have put another system there, which has not run yet.
  const outcome = nothingToMark(session.look());
  if (outcome !== undefined) return outcome;
  await markGood(session, "good, after its checks");
  return "marked";
}

/** Undefined where the running system is active (while both names are one image, that is), and not known to be good. */
function nothingToMark(view: View): "not-active" | "already" | undefined {
  const { counts, tries, running, names } = view.state;
  if (running === undefined || running !== names.active) return "not-active";
  const known = recordOf(view, "active")?.image, counted = counts && tries !== "" || view.counter.tentative;
  return !counted && (known === undefined || known.boot === "good" && !known.armed) ? "already" : undefined;
}

function openPatiently(
  system: System,
  settings: StateOptions,
  events: Events,
  signal: AbortSignal,
): Promise<Session> {
  return patiently(system, events, signal, () => Session.open(system, settings, events));
}

async function runChecks(
  system: System,
  { checkLimit }: GoodSettings,
  events: Events,
  signal: AbortSignal,
): Promise<FailedCheck[]> {
  const failed: FailedCheck[] = [];
  for (const check of listChecks(system.kernel)) {
    if (check.skipped !== undefined) {
      events({ kind: "warning", text: `${CHECKS_DIRECTORY}/${check.name} is not run: ${check.skipped}.` });
      continue;
    }
    events({ kind: "phase", phase: "check", text: `Checking ${check.name}` });
    const why = check.refused ?? await runCheck(check.name, checkLimit, signal);
    signal.throwIfAborted();
    if (why === undefined) continue;
    events({ kind: "warning", text: `The check ${check.name} failed: ${why}.` });
    failed.push({ name: check.name, why, at: new Date(system.now()).toISOString() });
  }
  return failed;
}

function noteFailed(session: Session, failed: FailedCheck[]): void {
  const found = recordOf(session.look(), "active"), at = new Date(session.system.now()).toISOString();
  const names = failed.map(({ name }) => name).join(", ");
  noteOperation(
    session,
    { kind: "boot good", at, outcome: `checks failed: ${names}`, image: found?.image?.source },
    (record) => {
      if (found?.image === undefined) return record;
      return { ...record, images: { ...record.images, [found.uuid]: { ...found.image, failedChecks: failed } } };
    },
  );
}

function checkFailed(failed: readonly FailedCheck[]): CosError {
  const [first] = failed, text = failed.map(({ name, why }) => `${name} (${why})`).join(", ");
  return new CosError("CHECK_FAILED", `The running system is not well: of its checks failed ${text}.`, {
    hint:
      `It is not marked good. Run ${CHECKS_DIRECTORY}/${first?.name} by hand to see more; if it is well all the same: cos boot good`,
    details: { checks: failed.map(({ name }) => name).join(",") },
  });
}
