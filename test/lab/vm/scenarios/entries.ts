/** Entries that are chosen for one boot, and what a recovery system is for. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { damage, mount } from "../../disk.ts";
import { run } from "../../run.ts";
import { slotsOf, type VmMachine } from "../machine.ts";
import { bootInto, changeImage, type Scenario, upgradeOffline } from "./scenario.ts";

export const oneShot: Scenario = {
  name: "one-shot",
  needs: ["v2"],
  shows:
    "one boot into the passive and one into the recovery system; none of them is a try, and the default starts after each",
  run: async (machine) => {
    await installRecovery(machine);
    await upgradeOffline(machine, "v2");
    for (const [entry, image] of [["fallback", "passive"], ["recovery", "recovery"]] as const) {
      await chooseOnce(machine, entry);
      await using v1 = await bootInto(machine, "v1", image);
      const status = await v1.status();
      assert.equal(status.tries, "3");
      assert.equal(status.slots.find(({ slot }) => slot === "active")?.boot, "trying");
      await v1.reboot();
    }
    await using v2 = await bootInto(machine, "v2", "active");
    assert.deepEqual(slotsOf(await v2.status()), ["active: 2.0.0 good, running", "passive: 1.0.0 good"]);
  },
};

export const fromRecovery: Scenario = {
  name: "recovery",
  needs: ["v2"],
  shows: "neither system boots; the recovery system upgrades, and v2 comes up and is marked good",
  run: async (machine) => {
    await installRecovery(machine);
    await changeImage(machine, damage);
    {
      // By itself: GRUB tries the entries in turn.
      await using recovery = await bootInto(machine, "v1", "recovery");
      await recovery.upgrade("v2");
      await recovery.reboot();
    }
    await using v2 = await bootInto(machine, "v2", "active");
    assert.match(v2.up.cmdline, /(^| )cos\.tries_left=2( |$)/);
    assert.equal((await v2.status()).tries, "");
  },
};

export const upgradesRecovery: Scenario = {
  name: "recovery-upgrade",
  needs: ["v2"],
  shows: "v1 makes v2 its recovery system, from a registry; that starts once, all of it, and v1 starts after it",
  run: async (machine) => {
    await installRecovery(machine);
    const before = ["active: 1.0.0 good, running", "passive: the same"];
    {
      await using v1 = await bootInto(machine, "v1", "active");
      assert.deepEqual(slotsOf(await v1.status()), before);
      await v1.upgrade("v2", "--recovery");
      assert.deepEqual(slotsOf(await v1.status()), before);
      await v1.rebootInto("recovery");
    }
    {
      await using v2 = await bootInto(machine, "v2", "recovery");
      const image = machine.lab.reference("v2", "guest");
      const refused = await v2.cos("upgrade", "--recovery", image, "--plain-http", "--no-verify");
      assert.equal(refused.status, 37, refused.err);
      await v2.reboot();
    }
    await using v1 = await bootInto(machine, "v1", "active");
    assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
    assert.deepEqual(slotsOf(await v1.status()), before);
  },
};

/** As installers do it: the first system, in a filesystem of its own. */
export async function installRecovery(machine: VmMachine): Promise<void> {
  await machine.whileOff(async ({ partitions }) => {
    await using state = await mount(partitions.state, "ro");
    await using recovery = await mount(partitions.recovery, "rw");
    const image = join(recovery.path, "cOS/recovery.img");
    mkdirSync(join(recovery.path, "cOS"), { recursive: true });
    await run("cp", ["--sparse=always", join(state.path, "cOS/active.img"), image]);
    await run("tune2fs", ["-L", "COS_SYSTEM", "-U", "random", image]);
  });
}

/** As `grub2-editenv /oem/grubenv set next_entry=…` does. */
async function chooseOnce(machine: VmMachine, entry: string): Promise<void> {
  await machine.whileOff(async ({ partitions }) => {
    await using oem = await mount(partitions.oem, "rw");
    const block = join(oem.path, "grubenv");
    await run("grub-editenv", [block, "create"]);
    await run("grub-editenv", [block, "set", `next_entry=${entry}`]);
  });
}
