/** What every submission is tried with: the shortest way through what matters most. */
import assert from "node:assert/strict";
import { assertFellBack, bootInto, type Scenario, upgradeOffline, upgradesItself } from "./scenario.ts";

/** Needs no system that was proven before. */
export const inShort: Scenario = {
  name: "short",
  needs: ["v2", "panics"],
  shows:
    "v1 upgrades itself and restarts into v2, which is good; another one panics in its only boot, and v2 runs again",
  run: async (machine) => {
    await upgradesItself(machine);
    await upgradeOffline(machine, "panics", "--try");
    assert.match(await machine.bootFails(), /Kernel panic/);
    await using v2 = await bootInto(machine, "v2", "passive");
    await assertFellBack(v2, "panics", "it did not come up", "v2");
  },
};
