import { CosError } from "../lib/base/errors.ts";
import { chooseImage } from "../lib/config/image-choice.ts";
import type { Settings } from "../lib/config/settings.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { LEAST_KEPT } from "../lib/operations/keeping.ts";
import { upgradeRecovery } from "../lib/operations/upgrade-recovery.ts";
import { type Restart, restart } from "../lib/operations/restart.ts";
import type { SlotSummary } from "../lib/operations/summary.ts";
import { planUpgradeOnly, upgrade, type UpgradePlan, type UpgradeSettings } from "../lib/operations/upgrade.ts";
import { renderPlan, renderRecovery, renderSlots } from "../lib/ui/status.ts";
import { type CosContext, type Job, resultJson, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, type RestartFlags, saidBy, statementsOf, wantedRestart } from "./settings.ts";

export interface UpgradeFlags extends ImageFlags, RestartFlags {
  readonly dryRun?: boolean;
  readonly acceptRunning?: boolean;
  readonly retryBad?: boolean;
  readonly try?: boolean;
  readonly allowDowngrade?: boolean;
  readonly recovery?: boolean;
  readonly keep?: number;
  readonly spread?: number;
}

export async function runUpgrade(this: CosContext, flags: UpgradeFlags, image?: string): Promise<void> {
  await runJob(this, flags, async (job) => {
    const { system, events, signal, print, warnings } = job, machine = await machineSettings(statementsOf(flags));
    const reference = image === undefined ? imageOfMachine(machine, flags.recovery === true) : parseReference(image);
    const wanted = wantedRestart(machine);
    const settings = {
      ...imageSettings(reference, flags, machine, system, events),
      acceptRunning: flags.acceptRunning === true,
      retryBad: flags.retryBad === true,
      once: flags.try === true,
      keep: flags.keep ?? LEAST_KEPT,
      allowDowngrade: flags.allowDowngrade === true ? saidBy(system, "--allow-downgrade") : undefined,
    };
    if (flags.recovery && flags.dryRun) throw noRecoveryPlan();
    if (flags.spread !== undefined && !flags.dryRun) {
      const { spread } = await import("../lib/operations/spread.ts");
      await spread(system, flags.spread, events, signal);
    }
    if (flags.recovery) {
      const done = await upgradeRecovery(system, settings, events, signal);
      print(flags.json ? resultJson("upgrade", { recovery: done, warnings }) : renderRecovery(done));
      // What the machine would start next is the same as before: it restarts only if that is said.
      if (wanted !== undefined) await restart(system, wanted, 0, events, signal);
      return;
    }
    if (flags.dryRun) {
      const plan = await planUpgradeOnly(system, settings, signal);
      print(flags.json ? resultJson("upgrade", { dryRun: true, plan: planValue(plan) }) : renderPlan(plan));
      return;
    }
    await performUpgrade(job, settings, { json: flags.json === true, restart: wanted });
  });
}

/** What the settings name. Throws `USAGE` where nobody says anything. */
function imageOfMachine(machine: Settings, recovery: boolean) {
  const { image, recoveryImage } = machine;
  if (image.place !== "default" || recovery && recoveryImage.value !== "") return chooseImage(machine, { recovery });
  throw new CosError("USAGE", "No image is named.", {
    hint: "Give one: cos upgrade HOST/REPOSITORY:TAG; or put UPGRADE_IMAGE=… into /etc/cos/config",
  });
}

function noRecoveryPlan(): CosError {
  return new CosError("USAGE", "Cannot plan an upgrade of the recovery system: --dry-run is for the system itself.", {
    hint: "Whether an image would be installed says: cos policy test IMAGE",
  });
}

export interface UpgradeEnd {
  json: boolean;
  restart?: Restart;
  /** Milliseconds before it, in which a signal can still stop it. */
  delay?: number;
}

/** Upgrades, says what was done, and restarts if that is wanted. Returns whether a restart was wanted and did not come. */
export async function performUpgrade(
  { system, events, signal, output, print, warnings }: Job,
  settings: UpgradeSettings,
  end: UpgradeEnd,
): Promise<{ restartFailed: boolean }> {
  const show = (plan: UpgradePlan) => {
    if (!end.json) output.err(renderPlan(plan));
  };
  const { plan, after } = await upgrade(system, settings, events, signal, show);
  if (end.json) print(resultJson("upgrade", { plan: planValue(plan), slots: after, warnings }));
  else if (plan.action === "nothing") print("Nothing to do.\n");
  else print(`Upgraded. The next boot starts the active system:\n${renderSlots(after)}`);
  if (end.restart === undefined || runsActive(after)) return { restartFailed: false };
  return { restartFailed: !await restart(system, end.restart, end.delay ?? 0, events, signal) };
}

/** A machine that runs what was asked for needs no restart: one that is asked again and again would never come to work. */
function runsActive(slots: readonly SlotSummary[]): boolean {
  return slots.some(({ slot, running }) => slot === "active" && running);
}

/** The plan without what only this process can use. */
function planValue({ source, ...plan }: UpgradePlan): Record<string, unknown> {
  return { image: source.name, ...plan };
}
