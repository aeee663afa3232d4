/** What a machine must live through, by real boots. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mount } from "../disk.ts";
import { run } from "../run.ts";
import { assertRuns, type Guest, slotsOf, type VmMachine } from "./machine.ts";
import { VERSIONS, type VmTag } from "./images.ts";

export interface Scenario {
  name: string;
  /** What it shows, as a sentence. */
  shows: string;
  /** @param seed for those that choose by chance. */
  run(machine: VmMachine, seed: number): Promise<void>;
}

/** Boots, and looks what runs. */
async function bootInto(machine: VmMachine, tag: VmTag, image: "active" | "passive" | "recovery"): Promise<Guest> {
  const guest = await machine.boot();
  try {
    assertRuns(machine, guest, tag, image);
    return guest;
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
}

/** An upgrade by this host, as from a live system: faster than in the guest, and the same for what follows. */
const upgradeOffline = (machine: VmMachine, tag: VmTag) =>
  machine.offline("upgrade", machine.lab.reference(tag, "host"), "--no-verify");

/** v2 is known to have failed, v1 runs in its place and knows it. */
async function assertFellBack(guest: Guest, tag: VmTag, why: string): Promise<void> {
  assert.match(guest.up.cmdline, /(^| )upgrade_failure( |$)/);
  const status = await guest.status();
  assert.deepEqual(slotsOf(status), [`active: ${VERSIONS[tag]} bad`, `passive: ${VERSIONS.v1} good, running`]);
  assert.equal(status.tries, "0");
  const { fellBack, next, knownBad } = await guest.bootStatus();
  assert.deepEqual(
    { fellBack, next, why: knownBad.map((one) => one.why) },
    { fellBack: true, next: "passive", why: [why] },
  );
}

const upgraded: Scenario = {
  name: "upgrade",
  shows: "v1 upgrades itself from a registry, restarts into v2, which is marked good and stays",
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
    await using again = await bootInto(machine, "v2", "active");
    assert.doesNotMatch(again.up.cmdline, /cos\.tries_left|upgrade_failure/);
  },
};

const panics: Scenario = {
  name: "panic",
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

const failingChecks: Scenario = {
  name: "checks",
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

const rollsBack: Scenario = {
  name: "rollback",
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

const rollsBackFromBad: Scenario = {
  name: "rollback-bad",
  shows: "v2 is bad, v1 runs as the fallback; a rollback and a restart make v1 the active system",
  run: async (machine) => {
    await upgradeOffline(machine, "panics");
    for (let boot = 0; boot < 3; boot++) await machine.bootFails();
    {
      await using fallback = await bootInto(machine, "v1", "passive");
      await fallback.must("rollback");
      await fallback.reboot();
    }
    await using v1 = await bootInto(machine, "v1", "active");
    assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
    assert.deepEqual(slotsOf(await v1.status()), ["active: 1.0.0 good", "passive: the same"]);
  },
};

const cannotMark: Scenario = {
  name: "no-unit",
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

const noKernel: Scenario = {
  name: "no-kernel",
  shows: "v2 has lost its kernel: GRUB goes on to v1 by itself, each time, until the tries are used up",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    await changeImage(machine, async (image) => {
      await run("debugfs", ["-w", "-R", `rm /boot/vmlinuz-${machine.lab.kernels.v2}`, image]);
    });
    await fallsBackInGrub(machine);
  },
};

const damaged: Scenario = {
  name: "damaged",
  shows: "the beginning of v2's image is destroyed: GRUB goes on to v1 by itself",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    await changeImage(machine, async (image) => {
      await run("dd", ["if=/dev/zero", `of=${image}`, "bs=64k", "count=4", "conv=notrunc"]);
    });
    await fallsBackInGrub(machine);
  },
};

/** GRUB cannot start v2: the fallback entry starts in the same boot, and when the tries are used up it is the default. */
async function fallsBackInGrub(machine: VmMachine): Promise<void> {
  for (let boot = 0; boot < 3; boot++) {
    await using v1 = await bootInto(machine, "v1", "passive");
    await v1.reboot();
  }
  await using v1 = await bootInto(machine, "v1", "passive");
  await assertFellBack(v1, "v2", "it did not come up");
}

/** Does something to the active image while the machine is off. */
async function changeImage(machine: VmMachine, what: (image: string) => Promise<void>): Promise<void> {
  await machine.whileOff(async ({ partitions }) => {
    await using state = await mount(partitions.state, "rw");
    await what(join(state.path, "cOS/active.img"));
  });
}

const oneShot: Scenario = {
  name: "one-shot",
  shows: "one boot into the passive and one into the recovery system, and the default again after each",
  run: async (machine) => {
    await upgradeOffline(machine, "v2");
    await machine.whileOff(async ({ partitions }) => {
      await using oem = await mount(partitions.oem, "rw");
      await run("grub-editenv", [join(oem.path, "grubenv"), "create"]);
      await run("grub-editenv", [join(oem.path, "grubenv"), "set", "next_entry=fallback"]);
    });
    {
      await using v1 = await bootInto(machine, "v1", "passive");
      assert.equal((await v1.status()).tries, "3");
      await v1.reboot();
    }
    await using v2 = await bootInto(machine, "v2", "active");
    assert.equal((await v2.status()).tries, "");
  },
};

export const SCENARIOS: readonly Scenario[] = [
  upgraded,
  panics,
  rollsBack,
  rollsBackFromBad,
  failingChecks,
  cannotMark,
  noKernel,
  damaged,
  oneShot,
];
