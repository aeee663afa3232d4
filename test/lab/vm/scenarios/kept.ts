/** Systems that are kept besides the two that boot entries lead to. */
import assert from "node:assert/strict";
import { type Guest, slotsOf } from "../machine.ts";
import { bootInto, type Scenario, upgradeOffline } from "./scenario.ts";

export const switches: Scenario = {
  name: "switch",
  needs: ["v2", "v3"],
  shows:
    "v3 runs, v2 is the passive system and v1 is kept: a switch and a restart make v1 the active one, which is good",
  run: async (machine) => {
    await upgradeOffline(machine, "v2", "--keep", "3");
    {
      await using v2 = await bootInto(machine, "v2", "active");
      await v2.upgrade("v3", "--keep", "3");
      await v2.reboot();
    }
    {
      await using v3 = await bootInto(machine, "v3", "active");
      assert.deepEqual(await systemsOf(v3), [
        "active: 3.0.0 good, running",
        "passive: 2.0.0 good",
        "kept: 1.0.0",
      ]);
      await v3.must("switch", "1.0.0");
      await v3.reboot();
    }
    for (let boot = 0; boot < 2; boot++) {
      await using v1 = await bootInto(machine, "v1", "active");
      // It ran well before, so that it is not tried again.
      assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
      assert.deepEqual(await systemsOf(v1), [
        "active: 1.0.0 good, running",
        "passive: 3.0.0 good",
        "kept: 2.0.0",
      ]);
      await v1.reboot();
    }
  },
};

async function systemsOf(guest: Guest): Promise<string[]> {
  const status = await guest.status();
  return [...slotsOf(status), ...status.kept.map(({ version }) => `kept: ${version}`)];
}
