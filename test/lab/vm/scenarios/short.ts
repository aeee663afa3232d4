/** What every submission is tried with: the shortest way through what matters most. */
import assert from "node:assert/strict";
import { slotsOf } from "../machine.ts";
import { assertFellBack, bootInto, type Scenario, upgradeOffline } from "./scenario.ts";

/** Needs no system that was proven before. */
export const inShort: Scenario = {
  name: "short",
  needs: ["v2", "panics"],
  shows:
    "v1 upgrades itself and restarts into v2, which is good; another one panics in its only boot, and v2 runs again",
  run: async (machine) => {
    {
      await using v1 = await bootInto(machine, "v1", "active");
      await v1.upgrade("v2");
      await v1.reboot();
    }
    {
      await using v2 = await bootInto(machine, "v2", "active");
      assert.match(v2.up.cmdline, /(^| )cos\.tries_left=2( |$)/);
      const status = await v2.status();
      assert.deepEqual(slotsOf(status), ["active: 2.0.0 good, running", "passive: 1.0.0 good"]);
      assert.equal(status.tries, "");
      await v2.reboot();
    }
    await upgradeOffline(machine, "panics", "--try");
    assert.match(await machine.bootFails(), /Kernel panic/);
    await using v2 = await bootInto(machine, "v2", "passive");
    await assertFellBack(v2, "panics", "it did not come up", "v2");
  },
};
