/** Systems that were whole when they were installed, and are not any more. */
import assert from "node:assert/strict";
import { damage } from "../../disk.ts";
import { run } from "../../run.ts";
import type { VmMachine } from "../machine.ts";
import { assertFellBack, bootInto, changeImage, type Scenario, upgradeOffline } from "./scenario.ts";

export const noKernel: Scenario = {
  name: "no-kernel",
  needs: ["v2"],
  shows: "v2 has lost its kernel: GRUB goes on to v1 by itself, each time, until the tries are used up",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    await changeImage(machine, async (image) => {
      await run("debugfs", ["-w", "-R", `rm /boot/vmlinuz-${machine.lab.kernels.v2}`, image]);
    });
    await fallsBackInGrub(machine);
  },
};

export const damaged: Scenario = {
  name: "damaged",
  needs: ["v2"],
  shows: "the beginning of v2's image is destroyed: GRUB goes on to v1 by itself",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    await changeImage(machine, damage);
    // Which system that was nobody can tell any more, nor mark it.
    await triesInGrub(machine, [1, 2, 3]);
    await using v1 = await bootInto(machine, "v1", "passive");
    const { tries, slots: [active] } = await v1.status();
    assert.deepEqual({ tries, unreadable: active?.unreadable }, { tries: "0", unreadable: true });
    assert.match(await v1.must("status"), /^ {11}state {4}DAMAGED: no filesystem is found in it$/m);
  },
};

export const damagedInit: Scenario = {
  name: "damaged-init",
  needs: ["v2"],
  shows: "the first program of v2 is destroyed: the kernel panics, and v1 runs again",
  run: async (machine) => {
    await upgradeOffline(machine, "v2", "--try");
    await changeImage(machine, async (image) => {
      await run("debugfs", ["-w", "-R", "zap_block -f /usr/sbin/init 0", image]);
    });
    assert.match(await machine.bootFails(), /Kernel panic/);
    await using v1 = await bootInto(machine, "v1", "passive");
    await assertFellBack(v1, "v2", "it did not come up");
  },
};

/** GRUB cannot start v2: the fallback entry starts in the same boot, and when the tries are used up it is the default. */
async function fallsBackInGrub(machine: VmMachine): Promise<void> {
  // With the last one it is known, and no try any more.
  await triesInGrub(machine, [1, 2, 0]);
  await using v1 = await bootInto(machine, "v1", "passive");
  await assertFellBack(v1, "v2", "it did not come up");
}

/** @param told how many tries the status tells of in each of these boots. */
async function triesInGrub(machine: VmMachine, told: readonly number[]): Promise<void> {
  for (const [boot, wanted] of told.entries()) {
    await using v1 = await bootInto(machine, "v1", "passive");
    const { triesWithoutIt, tries } = await v1.status();
    assert.deepEqual({ triesWithoutIt, tries }, { triesWithoutIt: wanted, tries: String(2 - boot) });
    await v1.reboot();
  }
}
