/** What a trial is: who is on it, when it is passed, when it has failed. */
import { CosError } from "../base/errors.ts";
import { shortDigest } from "../base/digest.ts";
import { type CountObstacle, OBSTACLES, writeTries } from "../boot/counter.ts";
import { type ImageRecord, type InstallRecord, knownBad, withBad, withoutBad } from "../formats/record.ts";
import { readTextFile } from "../machine/files.ts";
import type { Slot } from "../state/switch.ts";
import { withFloor } from "./downgrade.ts";
import { noteOperation } from "./record-keeping.ts";
import type { Session, View } from "./session.ts";

/** The record of a slot's image, and its key there. */
export function recordOf({ slots, record }: View, slot: Slot): { uuid: string; image?: ImageRecord } | undefined {
  const id = slots.names[slot], uuid = id === undefined ? undefined : slots.images.get(id)?.uuid;
  return uuid === undefined ? undefined : { uuid, image: record.record.images[uuid] };
}

/** The running system is the one whose tries are being counted: it has not said yet that it runs well. */
export function runningIsOnTrial({ state }: View): boolean {
  const { counts, tries, running, names, images } = state;
  if (!counts || tries === "" || running === undefined || running !== names.active) return false;
  return names.passive !== running && images.get(running)?.onTrial === true;
}

/**
 * How often GRUB has started the active system on trial while it is the passive one that runs. Not before they are used up is it
 * known to have failed: the entry of the passive system may have been chosen by hand.
 */
export function triesWithoutIt(view: View): number {
  const { counts, tries, running, names } = view.state, image = recordOf(view, "active")?.image;
  if (!counts || tries === "" || image?.armed === false || running === undefined) return 0;
  if (running !== names.passive || running === names.active) return 0;
  // What the record does not know was given all of them, as far as anybody can tell.
  return Math.max((image?.triesGiven ?? 3) - Number(tries), 0);
}

/** Throws `ON_TRIAL`: the system to fall back to would be replaced by one that may not be well. */
export function refuseOnTrial(view: View, accepted: boolean): void {
  if (accepted || !runningIsOnTrial(view)) return;
  throw new CosError(
    "ON_TRIAL",
    `Cannot upgrade on ${view.partition.name}: the running system is still on trial, and an upgrade would give up the one before it.`,
    {
      hint: "If it runs well, say so: cos boot good. Or say it with the upgrade: --accept-running",
    },
  );
}

/** Throws `KNOWN_BAD`. */
export function refuseKnownBad(record: InstallRecord, digest: string | undefined, retry: boolean): void {
  const bad = digest === undefined ? undefined : knownBad(record, digest);
  if (bad !== undefined && !retry) {
    throw refusedAsBad(bad, bad.why, "Publish a mended image, or try this one again with: --retry-bad", bad.at);
  }
}

/** The same for a system that is here already. Throws `KNOWN_BAD`. */
export function refuseBadSystem({ record }: View, image: ImageRecord | undefined, retry: boolean): void {
  if (image?.boot !== "bad" || retry) return;
  const { source, digest } = image, bad = digest === undefined ? undefined : knownBad(record.record, digest);
  throw refusedAsBad(
    { source, digest },
    bad?.why ?? "it did not come up",
    "The other system stays the default. If it is really meant, try it again with: --retry-bad",
    bad?.at,
  );
}

function refusedAsBad(
  { source, digest }: { source: string; digest?: string },
  why: string,
  hint: string,
  at?: string,
): CosError {
  const name = digest === undefined ? source : `${source} (${shortDigest(digest as `sha256:${string}`)})`;
  return new CosError("KNOWN_BAD", `Refused ${name}: it was tried here before, and ${why}.`, {
    hint,
    details: { ...digest !== undefined && { digest }, ...at !== undefined && { at } },
  });
}

/** Why GRUB does not count here, for programs and for people. */
export function obstacleOf({ counter: { obstacle } }: View): { code: CountObstacle; text: string } | undefined {
  return obstacle === undefined ? undefined : { code: obstacle, text: OBSTACLES[obstacle] };
}

/** "Fallback is not armed", and why, as plans and results say it. */
export function notArmed(why: string): string {
  return `Fallback is not armed: ${why}; choose the fallback entry by hand if need be.`;
}

export function obstacleWarning(obstacle: CountObstacle | undefined): string | undefined {
  return obstacle === undefined ? undefined : notArmed(OBSTACLES[obstacle]);
}

export const CANNOT_MARK =
  "the new system has no enabled unit that runs cos boot good, and would be left however well it runs";

/**
 * The running active system is good: nothing is counted any more, and the record says so. The counter first: a cut between
 * leaves a system that is not counted, and that the next call marks.
 */
export async function markGood(session: Session, how: string): Promise<void> {
  const view = session.look(), { counts, tries } = view.state;
  if (counts && tries !== "") await session.run([{ do: "tries", value: "" }]);
  else if (view.counter.tentative) writeTries(session.system.kernel, session.partition.fd, "");
  const found = recordOf(view, "active");
  const at = new Date(session.system.now()).toISOString();
  noteOperation(
    session,
    { kind: "boot good", at, outcome: how, image: found?.image?.source },
    (record) => {
      if (found?.image === undefined) return record;
      const { failedChecks: _, ...image } = { ...found.image, boot: "good" as const, armed: false };
      const next = withoutBad({ ...record, images: { ...record.images, [found.uuid]: image } }, image.digest);
      return withFloor(next, image, at);
    },
  );
}

/** The passive system runs because GRUB has used up the tries of the active one. */
export function hasFallenBack({ state, counter }: View, cmdline = readTextFile("/proc/cmdline") ?? ""): boolean {
  const { counts, tries, running, names } = state;
  if (running === undefined || running !== names.passive || names.active === undefined || names.active === running) {
    return false;
  }
  if (counts && tries !== "") return tries === "0";
  // The older tools' script; a counter that could not be written was no try.
  return counter.tentative && /(?:^|\s)upgrade_failure(?:\s|$)/.test(cmdline) && !/cos\.env_unwritable/.test(cmdline);
}

interface Fallback {
  why: string;
  image: ImageRecord;
  change(record: InstallRecord): InstallRecord;
}

/** What is to be remembered of a fallback; undefined where there was none, or it is remembered already. */
export function fallbackToNote(view: View, now: number): Fallback | undefined {
  const found = hasFallenBack(view) ? recordOf(view, "active") : undefined;
  if (found?.image === undefined || found.image.boot === "bad") return undefined;
  const { uuid, image } = found, at = new Date(now).toISOString();
  const failed = image.failedChecks?.map(({ name, why }) => `${name}: ${why}`).join(", ");
  const why = failed === undefined ? "it did not come up" : `its checks failed (${failed})`;
  return {
    why,
    image,
    change: (record) => {
      const next = {
        ...record,
        images: { ...record.images, [uuid]: { ...image, boot: "bad" as const, armed: false } },
      };
      const { digest, source, version } = image;
      return digest === undefined ? next : withBad(next, { digest, source, version, at, why });
    },
  };
}

/** Remembers that active failed, so that nothing tries it again by itself. True where that was news. */
export function noteFallback(session: Session): boolean {
  const now = session.system.now(), fallback = fallbackToNote(session.look(), now);
  if (fallback === undefined) return false;
  const { why, image, change } = fallback;
  noteOperation(
    session,
    { kind: "fallback", at: new Date(now).toISOString(), outcome: why, image: image.source },
    change,
  );
  return true;
}
