/** The way back. */
import assert from "node:assert/strict";
import { slotsOf } from "../machine.ts";
import { bootInto, type Scenario, upgradeOffline } from "./scenario.ts";

export const rollsBack: Scenario = {
  name: "rollback",
  needs: ["v2"],
  shows: "a rollback from a good v2, a restart: v1 is the active system, v2 the passive one",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    {
      await using v2 = await bootInto(machine, "v2", "active");
      await v2.must("rollback");
      await v2.reboot();
    }
    await using v1 = await bootInto(machine, "v1", "active");
    assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left/);
    assert.deepEqual(slotsOf(await v1.status()), ["active: 1.0.0 good, running", "passive: 2.0.0 good"]);
  },
};

export const rollsBackFromBad: Scenario = {
  name: "rollback-bad",
  needs: ["panics"],
  shows: "v2 is bad, v1 runs as the fallback; a rollback and a restart make v1 the active system",
  run: async (machine) => {
    await upgradeOffline(machine, "panics", "--try");
    await machine.bootFails();
    {
      await using fallback = await bootInto(machine, "v1", "passive");
      await fallback.must("rollback");
      await fallback.reboot();
    }
    await using v1 = await bootInto(machine, "v1", "active");
    assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
    assert.deepEqual(slotsOf(await v1.status()), ["active: 1.0.0 good, running", "passive: the same"]);
  },
};
