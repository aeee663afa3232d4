/** New systems that come up, and new systems that do not. */
import assert from "node:assert/strict";
import { slotsOf } from "../machine.ts";
import { assertFellBack, bootInto, type Scenario, upgradeOffline, upgradesItself } from "./scenario.ts";

export const upgraded: Scenario = {
  name: "upgrade",
  needs: ["v2"],
  shows: "v1 upgrades itself from a registry, restarts into v2, which is marked good and stays",
  run: async (machine) => {
    await upgradesItself(machine);
    await using again = await bootInto(machine, "v2", "active");
    assert.doesNotMatch(again.up.cmdline, /cos\.tries_left|upgrade_failure/);
  },
};

export const panics: Scenario = {
  name: "panic",
  needs: ["panics"],
  shows: "v2 panics three times, v1 runs again and says why; the failed image is refused",
  run: async (machine) => {
    await upgradeOffline(machine, "panics");
    for (const left of [2, 1, 0]) {
      const console = await machine.bootFails();
      assert.match(console, new RegExp(`cos\\.tries_left=${left} `));
      assert.match(console, /Kernel panic/);
    }
    await using v1 = await bootInto(machine, "v1", "passive");
    await assertFellBack(v1, "panics", "it did not come up");
    const refused = await v1.cos("upgrade", machine.lab.reference("panics", "guest"), "--plain-http", "--no-verify");
    assert.equal(refused.status, 40, refused.err);
    await v1.reboot();
    await using rests = await bootInto(machine, "v1", "passive");
    assert.equal((await rests.status()).tries, "0");
  },
};

export const failingChecks: Scenario = {
  name: "checks",
  needs: ["failing"],
  shows: "a check of the operator's fails in v2 three times, v1 runs again and names the check",
  run: async (machine) => {
    await upgradeOffline(machine, "failing");
    for (let boot = 0; boot < 3; boot++) assert.match(await machine.bootFails(), /20-service \(exit status 3/);
    await using v1 = await bootInto(machine, "v1", "passive");
    await assertFellBack(
      v1,
      "failing",
      "its checks failed (20-service: exit status 3, it said: the service does not answer)",
    );
  },
};

export const cannotMark: Scenario = {
  name: "no-unit",
  needs: ["silent"],
  shows: "a target that cannot mark itself good is not counted, and stays",
  run: async (machine) => {
    {
      await using v1 = await bootInto(machine, "v1", "active");
      await v1.upgrade("silent");
      await v1.reboot();
    }
    for (let boot = 0; boot < 2; boot++) {
      await using v2 = await bootInto(machine, "silent", "active");
      assert.doesNotMatch(v2.up.cmdline, /cos\.tries_left|upgrade_failure/);
      const { tries, cannotMark } = await v2.status();
      assert.deepEqual({ tries, cannotMark }, { tries: "", cannotMark: true });
      await v2.reboot();
    }
  },
};

export const hangs: Scenario = {
  name: "hang",
  needs: ["hangs"],
  shows: "v2 hangs in the initramfs; the watchdog ends that boot, its only one, and v1 runs again",
  run: async (machine) => {
    await upgradeOffline(machine, "hangs", "--try");
    assert.match(await machine.bootFails(), /lab: the initramfs hangs/);
    await using v1 = await bootInto(machine, "v1", "passive");
    await assertFellBack(v1, "hangs", "it did not come up");
  },
};

export const dracut: Scenario = {
  name: "dracut",
  needs: ["dracut"],
  shows: "v2's initramfs was made by dracut: it comes up, and is marked good",
  run: async (machine) => {
    await upgradeOffline(machine, "dracut");
    await using v2 = await bootInto(machine, "dracut", "active");
    assert.match(v2.up.cmdline, /(^| )cos\.tries_left=2( |$)/);
    assert.deepEqual(slotsOf(await v2.status()), ["active: 2.1.0 good, running", "passive: 1.0.0 good"]);
  },
};
