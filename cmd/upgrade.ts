import { planUpgradeOnly, upgrade, type UpgradePlan } from "../lib/operations/upgrade.ts";
import { LEAST_KEPT } from "../lib/operations/keeping.ts";
import { upgradeRecovery } from "../lib/operations/upgrade-recovery.ts";
import { renderPlan, renderRecovery, renderSlots } from "../lib/ui/status.ts";
import { type CosContext, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, saidBy } from "./settings.ts";

export interface UpgradeFlags extends ImageFlags {
  readonly dryRun?: boolean;
  readonly acceptRunning?: boolean;
  readonly retryBad?: boolean;
  readonly try?: boolean;
  readonly allowDowngrade?: boolean;
  readonly recovery?: boolean;
  readonly keep?: number;
}

export async function runUpgrade(this: CosContext, flags: UpgradeFlags, image: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, output, print, warnings }) => {
    const settings = {
      ...imageSettings(image, flags, system, events),
      acceptRunning: flags.acceptRunning === true,
      retryBad: flags.retryBad === true,
      once: flags.try === true,
      keep: flags.keep ?? LEAST_KEPT,
      allowDowngrade: flags.allowDowngrade === true ? saidBy(system, "--allow-downgrade") : undefined,
    };
    if (flags.recovery) {
      const done = await upgradeRecovery(system, settings, events, signal);
      print(flags.json ? resultJson({ recovery: done, warnings }) : renderRecovery(done));
      return;
    }
    if (flags.dryRun) {
      const plan = await planUpgradeOnly(system, settings, signal);
      print(flags.json ? resultJson({ dryRun: true, plan: planValue(plan) }) : renderPlan(plan));
      return;
    }
    const show = (plan: UpgradePlan) => {
      if (!flags.json) output.err(renderPlan(plan));
    };
    const { plan, after } = await upgrade(system, settings, events, signal, show);
    if (flags.json) print(resultJson({ plan: planValue(plan), slots: after, warnings }));
    else if (plan.action === "nothing") print("Nothing to do.\n");
    else print(`Upgraded. The next boot starts the active system:\n${renderSlots(after)}`);
  });
}

function resultJson(result: Record<string, unknown>): string {
  return `${JSON.stringify({ schemaVersion: 1, operation: "upgrade", ...result }, undefined, 2)}\n`;
}

/** The plan without what only this process can use. */
function planValue({ source, ...plan }: UpgradePlan): Record<string, unknown> {
  return { image: source.name, ...plan };
}
