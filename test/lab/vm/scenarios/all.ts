/** What a machine must live through, by real boots. */
import { damaged, damagedInit, noKernel } from "./broken.ts";
import { cutRollback, cutUpgrades } from "./cuts.ts";
import { fromRecovery, oneShot, upgradesRecovery } from "./entries.ts";
import { switches } from "./kept.ts";
import { cutResets, resets } from "./resets.ts";
import { rollsBack, rollsBackFromBad } from "./rollbacks.ts";
import type { Scenario } from "./scenario.ts";
import { cannotMark, dracut, failingChecks, hangs, panics, upgraded } from "./trials.ts";

export const SCENARIOS: readonly Scenario[] = [
  upgraded,
  panics,
  hangs,
  failingChecks,
  cannotMark,
  dracut,
  noKernel,
  damaged,
  damagedInit,
  rollsBack,
  rollsBackFromBad,
  oneShot,
  fromRecovery,
  upgradesRecovery,
  resets,
  switches,
  cutRollback,
  cutResets,
  cutUpgrades,
];
