/** An upgrade: the named image becomes the active system, the one that runs becomes the fallback. */
import type { Events } from "../base/events.ts";
import type { Digest } from "../base/digest.ts";
import { CosError } from "../base/errors.ts";
import { OBSTACLES } from "../boot/counter.ts";
import type { ImageRecord, Verification } from "../formats/record.ts";
import { afterSteps, planRepair, planSwitch, type Slot, slotToKeep } from "../state/switch.ts";
import type { System } from "../system/system.ts";
import { openStatePartition } from "../machine/state-partition.ts";
import { keepMenu, type MenuSettings } from "./boot-menu.ts";
import { announcedBytes, checkSpace, removeTransition, type Source, sourceDigest } from "./install-image.ts";
import { floorsOf, judgeAge, originOf, refuseDowngrade } from "./downgrade.ts";
import { keepLost, prune } from "./keeping.ts";
import { newImageRecord, noteImages, noteOperation, onTrial, type Waiver } from "./record-keeping.ts";
import {
  look,
  refuseNamelessRunning,
  requireImages,
  requireRoot,
  Session,
  type StateOptions,
  type View,
} from "./session.ts";
import { keepTrust, type TrustMemory, trustMemory } from "./content-trust.ts";
import { type ProofSettings, prove } from "./prove.ts";
import { resolvedImage, resolveSource, type SourceSettings } from "./source.ts";
import { Hooks, type HookSettings } from "./hooks.ts";
import { installWithHooks } from "./install-with-hooks.ts";
import { policyInForce } from "./installed-policy.ts";
import { inspectImages } from "./inspect-images.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";
import {
  CANNOT_MARK,
  fallbackToNote,
  markGood,
  notArmed,
  noteFallback,
  obstacleWarning,
  recordOf,
  refuseKnownBad,
  refuseOnTrial,
  runningIsOnTrial,
} from "./trial.ts";

export interface ImageSettings extends SourceSettings, ProofSettings, HookSettings, MenuSettings, StateOptions {
  /** Least nominal size of the image, in bytes. */
  size: number;
  /** Whether a layer may put a directory over a link like /lib. */
  replaceDirectoryLinks: boolean;
}

export interface UpgradeSettings extends ImageSettings {
  /** `--accept-running`: the running system, which is on trial, is good. */
  acceptRunning: boolean;
  /** `--try`: the new system gets one boot, and is kept only if it says in it that it is good. */
  once: boolean;
  /** `--allow-downgrade`, and who said it: also an image that is older than what ran well here. */
  allowDowngrade?: Waiver;
  /** `--keep`: so many systems stay in all, at least two. */
  keep: number;
  /** The version that it is known to be older than, whatever the record says; that was allowed. */
  olderThan?: string;
  /** `--retry-bad`: also an image that fell back on this machine. */
  retryBad: boolean;
}

export type UpgradeAction =
  /** Active holds this image already, and is not known to be bad. */
  | "nothing"
  /** Passive holds it and ran well: only the names change. */
  | "switch"
  | "install";

export interface UpgradePlan {
  action: UpgradeAction;
  source: Source;
  digest?: Digest;
  /** Who vouches for it, or who waived that. */
  verification: Verification;
  /** Compressed bytes to read; 0 for a directory. */
  fetchBytes: number;
  freeBytes: number;
  before: SlotSummary[];
  /** The slot that holds the system to fall back to now; its image is passive afterwards. */
  keep: Slot;
  /** So many boots GRUB will give the new system, if that can mark itself good; 0: nothing falls back by itself. */
  trial: 0 | 1 | 3;
  /** It is older than what ran well here, which was allowed. */
  downgradeFrom?: string;
  warnings: string[];
}

export interface UpgradeResult {
  plan: UpgradePlan;
  after: SlotSummary[];
}

export type Planned = (plan: UpgradePlan) => void;

/** Looks and decides, and changes nothing: not even the repair that the plan counts on. Throws what would stop the upgrade. */
export async function planUpgradeOnly(
  system: System,
  settings: UpgradeSettings,
  signal: AbortSignal,
): Promise<UpgradePlan> {
  requireRoot(system);
  using partition = openStatePartition(system, settings.state, false);
  requireImages(system, partition);
  const view = look(system, partition, inspectImages(system, partition, look(system, partition).slots));
  const state = afterSteps(view.state, planRepair(view.state));
  const change = fallbackToNote(view, system.now())?.change;
  const record = change === undefined ? view.record : { ...view.record, record: change(view.record.record) };
  const memory = trustMemory(system, partition, settings.trustSeed);
  return await planUpgrade(system, settings, { ...view, state, record }, memory, signal);
}

export async function upgrade(
  system: System,
  settings: UpgradeSettings,
  events: Events,
  signal: AbortSignal,
  planned: Planned,
): Promise<UpgradeResult> {
  await using session = await Session.open(system, settings, events);
  session.inspect();
  noteFallback(session);
  let view = session.look();
  const memory = trustMemory(system, view.partition, settings.trustSeed);
  const plan = await planUpgrade(system, settings, view, memory, signal);
  planned(plan);
  keepTrust(session, memory);
  if (settings.acceptRunning && runningIsOnTrial(view)) {
    await markGood(session, "accepted with --accept-running");
    view = session.look();
  }
  await applyUpgrade(session, view, plan, settings, signal);
  return {
    plan,
    after: session.afterwards("looking at the result", [], () => describeSlots(session.look())),
  };
}

async function planUpgrade(
  system: System,
  settings: UpgradeSettings,
  view: View,
  memory: TrustMemory,
  signal: AbortSignal,
): Promise<UpgradePlan> {
  refuseNamelessRunning(view);
  const keep = slotToKeep(view.state);
  if (keep === undefined) throw new Error("a running image with a slot's name has a slot to keep");
  const source = await resolveSource(system, settings, signal), digest = sourceDigest(source);
  using installed = new DisposableStack();
  const warn = (text: string) => settings.events?.({ kind: "warning", text });
  const policy = policyInForce(system, view, settings.policy, installed, warn);
  const verification = await prove(system, source, { ...settings, policy }, memory, signal);
  const action = whatToDo(view, digest), origin = originOf(resolvedImage(source), settings.image);
  const age = action === "nothing" ? {} : judgeAge(floorsOf(system, view), origin);
  refuseDowngrade(source.name, age, settings.allowDowngrade !== undefined);
  // What is there already may be asked for again and again, by a controller too.
  if (action !== "nothing") {
    refuseKnownBad(view.record.record, digest, settings.retryBad);
    // A switch gives nothing up: the system on trial becomes the passive one.
    if (action === "install") refuseOnTrial(view, settings.acceptRunning);
  }
  const { name, fd } = view.partition, freeBytes = system.kernel.fstatfs(fd).available;
  if (action === "install") checkSpace(source, freeBytes, name);
  const { obstacle } = view.counter, warning = obstacleWarning(obstacle);
  if (settings.once && obstacle !== undefined) throw cannotTry(source.name, OBSTACLES[obstacle]);
  return {
    action,
    source,
    digest,
    verification,
    fetchBytes: action === "install" ? announcedBytes(source) : 0,
    freeBytes,
    before: describeSlots(view),
    keep,
    trial: action !== "install" || !view.state.counts ? 0 : settings.once ? 1 : 3,
    downgradeFrom: age.older?.floor ?? settings.olderThan,
    warnings: [warning, age.warning].flatMap((text) => text ?? []),
  };
}

function cannotTry(name: string, why: string): CosError {
  return new CosError("NOT_COUNTING", `Cannot try ${name} for one boot: ${why}.`, {
    hint: "See what is missing with cos boot status, or upgrade without --try.",
  });
}

function whatToDo(view: View, digest: Digest | undefined): UpgradeAction {
  const { state } = view;
  const holds = (slot: Slot): ImageRecord | undefined => {
    const id = state.names[slot], known = recordOf(view, slot)?.image;
    // An image that was damaged since does not hold what the record says.
    if (id !== undefined && state.images.get(id)?.broken === true) return undefined;
    return digest !== undefined && known?.digest === digest ? known : undefined;
  };
  const active = holds("active");
  if (active !== undefined && active.boot !== "bad") return "nothing";
  return holds("passive")?.boot === "good" && state.names.active !== state.names.passive ? "switch" : "install";
}

async function applyUpgrade(
  session: Session,
  start: View,
  plan: UpgradePlan,
  settings: UpgradeSettings,
  signal: AbortSignal,
): Promise<void> {
  const { system } = session, source = plan.source.name;
  switch (plan.action) {
    case "nothing":
      return;
    case "switch": {
      const switchPlan = planSwitch(start.state, { kind: "rollback", arm: false });
      if (switchPlan === undefined) throw new Error("a passive image that is another has a plan");
      session.events({ kind: "phase", phase: "switch", text: "Switching: the image is here already" });
      const warnings = await switchSlots(session, start, switchPlan);
      noteOperation(session, entry("upgrade", system.now(), plan, "done, without fetching", warnings));
      return;
    }
    case "install": {
      const hooks = new Hooks(session, settings, "upgrade", source, signal);
      const installed = await installWithHooks(session, plan.source, settings, hooks, signal);
      try {
        const ready = session.look();
        const grown = grownUp(session, start, plan, settings, installed.os.version);
        const arm = ready.state.counts && installed.marksItself;
        if (settings.once && !arm) throw cannotTry(plan.source.name, CANNOT_MARK);
        const switchPlan = planSwitch(ready.state, { kind: "upgrade", arm, once: settings.once });
        if (switchPlan === undefined) throw new Error("a state with a slot to keep has a plan");
        signal.throwIfAborted();
        const record = { ...newImageRecord(source, installed, plan.verification, system.now()), ...grown };
        const noted = arm ? onTrial(record, settings.once ? 1 : 3) : record;
        noteImages(session, { ...provenByRunning(start), [installed.uuid]: noted });
        const unarmed = ready.state.counts && !arm ? [notArmed(CANNOT_MARK)] : [];
        for (const text of unarmed) session.events({ kind: "warning", text });
        session.events({ kind: "phase", phase: "switch", text: "Switching" });
        const takeBack = await keepLost(session, ready, plan.keep, settings.keep);
        let warnings: string[];
        try {
          warnings = await switchSlots(session, ready, switchPlan);
        } catch (thrown) {
          await takeBack();
          throw thrown;
        }
        warnings.push(...await prune(session, settings.keep));
        await keepMenu(session, settings, installed.os.menuEntry);
        await hooks.afterSwitch();
        const done = entry("upgrade", system.now(), plan, "done", [...unarmed, ...warnings]);
        noteOperation(session, { ...done, ...hooks.notes });
        return;
      } catch (thrown) {
        removeTransition(session);
        throw thrown;
      }
    }
  }
}

/**
 * What the record keeps of an image's age. Its own os-release is only known now that it is unpacked: the label beside it may be
 * missing, or of somebody who forgot it. Throws `DOWNGRADE`.
 */
function grownUp(
  { system }: Session,
  start: View,
  { source, downgradeFrom }: UpgradePlan,
  { image, allowDowngrade }: UpgradeSettings,
  version: string | undefined,
): Partial<ImageRecord> {
  const origin = originOf(resolvedImage(source), image);
  const age = judgeAge(floorsOf(system, start), { product: origin.product, version });
  refuseDowngrade(source.name, age, allowDowngrade !== undefined);
  const from = downgradeFrom ?? age.older?.floor;
  return {
    ...origin,
    ...(from !== undefined && allowDowngrade !== undefined && { downgrade: { from, ...allowDowngrade } }),
  };
}

/** Where nothing counts boots, nothing marks a system good; but one that runs `cos upgrade` did boot. */
function provenByRunning({ state, slots, record }: View): Record<string, ImageRecord> {
  const uuid = state.running === undefined ? undefined : slots.images.get(state.running)?.uuid;
  const known = uuid === undefined ? undefined : record.record.images[uuid];
  if (uuid === undefined || known === undefined || known.boot === "good" || state.tries !== "") return {};
  return { [uuid]: { ...known, boot: "good" } };
}

function entry(kind: string, now: number, plan: UpgradePlan, outcome: string, warnings: string[] = []) {
  return {
    kind,
    at: new Date(now).toISOString(),
    outcome,
    image: plan.source.name,
    from: plan.before.find(({ slot }) => slot === plan.keep)?.version,
    warnings: warnings.length > 0 ? warnings : undefined,
  };
}
