/**
 * `suc-upgrade`: a node's host becomes what the Plan says, from a pod of system-upgrade-controller. It is done when the host has
 * booted into the new system: until then the pod fails on purpose, and Kubernetes starts another one that looks again.
 */
import { CosError } from "../base/errors.ts";
import { type Digest, shortDigest } from "../base/digest.ts";
import type { Events } from "../base/events.ts";
import type { ImageRecord } from "../formats/record.ts";
import { compareVersions } from "../formats/version.ts";
import { readTextFile } from "../machine/files.ts";
import { openStatePartition } from "../machine/state-partition.ts";
import type { System } from "../system/system.ts";
import { type OwnTree, releaseOf } from "./own-tree.ts";
import { patiently } from "./patiently.ts";
import { bootId, failedReboot, noteReboot } from "./reboot-note.ts";
import { look, requireImages, requireRoot, Session, type View } from "./session.ts";
import { resolveSource } from "./source.ts";
import { sourceDigest } from "./install-image.ts";
import { runningIsOnTrial } from "./trial.ts";
import { upgradeRecovery } from "./upgrade-recovery.ts";
import { type Planned, upgrade, type UpgradeSettings } from "./upgrade.ts";

export interface SucSettings extends UpgradeSettings {
  /** FORCE: also what is older than the host, or says of itself that it is the same. */
  force: boolean;
  /** What becomes of the recovery system: it is left, made the same once the host runs it well, or nothing else is done. */
  recovery: "keep" | "also" | "only";
}

export type SucOutcome =
  /** The host runs the system that was asked for. Only with this one the Plan goes on to the next node. */
  | { kind: "done"; name: string; why: string }
  /** The recovery system is what was asked for, and nothing else was wanted. */
  | { kind: "recovery"; name: string }
  /** The system is installed, and the host has been asked to reboot. */
  | { kind: "rebooting"; name: string }
  /** The host is going down for somebody else. */
  | { kind: "stopping" }
  /** The host runs it, but it has not said for a long time that it runs well. */
  | { kind: "on-trial"; name: string };

/** Seconds: another run on the same machine may pull a whole image. */
const LOCK_WAIT = 1800;
/** Seconds, and the pause between looks in milliseconds: units at boot and the operator's checks take their time. */
const TRIAL_WAIT = 600, STOPPING_WAIT = 600, PAUSE = 2000;

/** Throws what an upgrade throws, and `KNOWN_BAD` where the host was rebooted into it and came up with the other system. */
export async function sucUpgrade(
  system: System,
  settings: SucSettings,
  events: Events,
  signal: AbortSignal,
  planned: Planned,
): Promise<SucOutcome> {
  requireRoot(system);
  if (await isStopping(system, events, signal)) return { kind: "stopping" };
  const { image, own, force, recovery } = settings;
  if (recovery === "only") {
    const source = await resolveSource(system, settings, signal);
    await keepRecovery(system, settings, sourceDigest(source), events, signal);
    return { kind: "recovery", name: source.name };
  }
  const onTrial = await trialGoesOn(system, settings, events, signal), view = lookNow(system, settings);
  const done = async (name: string, why: string, digest: Digest | undefined): Promise<SucOutcome> => {
    if (onTrial) return { kind: "on-trial", name };
    if (recovery === "also") await keepRecovery(system, settings, digest, events, signal);
    return { kind: "done", name, why };
  };
  // The API of the cluster named a digest: no registry is needed to know that it runs already.
  if (image.kind === "registry" && image.digest !== undefined && runs(view, image.digest)) {
    return done(`${image.host}/${image.repository}`, shortDigest(image.digest), image.digest);
  }
  const source = await resolveSource(system, settings, signal), digest = sourceDigest(source);
  if (runs(view, digest)) return done(source.name, shortDigest(digest ?? ""), digest);
  const host = readTextFile("/etc/os-release") ?? readTextFile("/usr/lib/os-release") ?? "";
  const olderThan = own === undefined ? undefined : newerOnHost(own, host);
  if (own !== undefined && !force) {
    if (own.osRelease !== "" && own.osRelease === host) return done(source.name, "its os-release is the same", digest);
    if (olderThan !== undefined) throw older(own, olderThan);
  }
  refuseFailedReboot(view, digest, source.name);
  const begin = () => upgrade(system, { ...settings, olderThan }, events, signal, planned);
  await patiently(system, events, signal, begin, LOCK_WAIT);
  {
    await using session = await patiently(system, events, signal, () => Session.open(system, settings, events));
    noteReboot(session, source.name);
  }
  await system.power.reboot();
  return { kind: "rebooting", name: source.name };
}

async function isStopping(system: System, events: Events, signal: AbortSignal): Promise<boolean> {
  const goesDown = async () => await system.power.state(signal) === "stopping";
  return await lasts(system, goesDown, STOPPING_WAIT, "This machine is going down; waiting for that", events, signal);
}

/** Whoever is on trial may fall back yet: neither is the Plan done, nor may the system before it be given up. */
async function trialGoesOn(
  system: System,
  settings: SucSettings,
  events: Events,
  signal: AbortSignal,
): Promise<boolean> {
  const goesOn = () => Promise.resolve(runningIsOnTrial(lookNow(system, settings)));
  const text = "The running system is on trial; waiting until it says that it runs well";
  return await lasts(system, goesOn, TRIAL_WAIT, text, events, signal);
}

/** Whether it is still so after `seconds`. */
async function lasts(
  system: System,
  is: () => Promise<boolean>,
  seconds: number,
  text: string,
  events: Events,
  signal: AbortSignal,
): Promise<boolean> {
  for (let waited = 0; await is(); waited += PAUSE / 1000) {
    if (waited >= seconds) return true;
    if (waited === 0) events({ kind: "wait", text, seconds });
    await system.wait(PAUSE, signal);
  }
  return false;
}

/** Nothing is locked, and nothing changed. */
function lookNow(system: System, { state }: SucSettings): View {
  using partition = openStatePartition(system, state, false);
  requireImages(system, partition);
  return look(system, partition);
}

/** Makes the recovery system the same, if it is another by what the record says of it. Throws what `upgradeRecovery` throws. */
async function keepRecovery(
  system: System,
  settings: SucSettings,
  digest: Digest | undefined,
  events: Events,
  signal: AbortSignal,
): Promise<void> {
  if (isOf(lookNow(system, settings).record.record.recovery, digest)) return;
  await patiently(system, events, signal, () => upgradeRecovery(system, settings, events, signal), LOCK_WAIT);
}

/** Whether the machine runs from the image of that digest, whichever slot it is in by now. */
function runs({ state, slots, record }: View, digest: Digest | undefined): boolean {
  const uuid = state.running === undefined ? undefined : slots.images.get(state.running)?.uuid;
  const known = uuid === undefined ? undefined : record.record.images[uuid];
  return isOf(known, digest);
}

/** Of the image itself, or of the index that led to it. */
function isOf(known: ImageRecord | undefined, digest: Digest | undefined): boolean {
  return digest !== undefined && known !== undefined && [known.digest, known.indexDigest].includes(digest);
}

/** The host's version, where this tree is older: a directory has no history to be compared with, but both say what they are. */
function newerOnHost({ osRelease }: OwnTree, host: string): string | undefined {
  const [found, running] = [releaseOf(osRelease), releaseOf(host)];
  if (found.version === undefined || running.version === undefined || found.product !== running.product) {
    return undefined;
  }
  return (compareVersions(found.version, running.version) ?? 0) < 0 ? running.version : undefined;
}

function older({ osRelease, name }: OwnTree, floor: string): CosError {
  const found = releaseOf(osRelease).version ?? "";
  return new CosError(
    "DOWNGRADE",
    `Refused ${name}: it is older (version ${found}) than what this machine runs (${floor}).`,
    {
      hint: "If an older one is really meant, say FORCE=true in the Plan's envs; it is recorded.",
      details: { found, floor },
    },
  );
}

/** Throws `KNOWN_BAD`: to reboot once more would lead to the same, for ever. */
function refuseFailedReboot(view: View, digest: Digest | undefined, name: string): void {
  const at = failedReboot(view, digest, bootId());
  if (at === undefined) return;
  throw new CosError(
    "KNOWN_BAD",
    `Refused ${name}: this machine was rebooted into it at ${at}, and came up with another system.`,
    {
      hint:
        "It is the active system still. See what its console says when it boots; then publish a mended image, or go back for good with: cos rollback",
      details: { at },
    },
  );
}
