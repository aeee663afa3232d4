/** Cuts of the power: of an upgrade in the guest at moments by chance, and of a rollback at every step. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { imageLabel, mount, type OpenDisk } from "../../disk.ts";
import { Random } from "../../random.ts";
import { run } from "../../run.ts";
import { versionOf, type VmTag } from "../images.ts";
import { type Guest, slotsOf, type VmMachine } from "../machine.ts";
import type { Written } from "../qemu.ts";
import { record } from "../recorded.ts";
import { bootChecked, bootInto, type Scenario, upgradeOffline } from "./scenario.ts";

const CUTS = 20;
const GOOD: readonly VmTag[] = ["v1", "v2", "v3"];

export const cutUpgrades: Scenario = {
  name: "cuts",
  needs: ["v2", "v3"],
  shows: `the power goes at ${CUTS} moments of an upgrade in the guest: each time a whole system comes up`,
  run: async (machine, seed) => {
    const random = new Random(seed);
    let whole: Written;
    {
      await using v1 = await bootInto(machine, "v1", "active");
      const before = await v1.power.written();
      await v1.upgrade("v2");
      const after = await v1.power.written();
      whole = { bytes: after.bytes - before.bytes, flushes: after.flushes - before.flushes };
      await v1.reboot();
    }
    let switched = 0, ran: string | undefined;
    for (let cut = 0; cut < CUTS; cut++) {
      await using guest = await bootWhole(machine);
      if (ran !== undefined && guest.up.version !== ran) switched++;
      ran = guest.up.version;
      // Half of them anywhere in the writing, half of them where the disk is told to keep what it has: at the switch, too.
      const after = cut % 2 === 0
        ? { bytes: random.next(whole.bytes), flushes: 0 }
        : { bytes: 0, flushes: random.next(whole.flushes + 1) };
      await cutDuring(guest, await freshTag(guest), after);
    }
    await using guest = await bootWhole(machine);
    if (guest.up.version !== ran) switched++;
    await guest.upgrade(await freshTag(guest), "--allow-downgrade");
    return `${
      whole.bytes >> 20
    } MiB and ${whole.flushes} flushes an upgrade; ${switched} of ${CUTS} came after the switch`;
  },
};

/** Whatever is there comes up, is a system that was installed, and says that it is good. */
export const bootWhole = (machine: VmMachine) =>
  bootChecked(machine, async (guest) => {
    const { version, image } = guest.up;
    assert.ok(GOOD.some((tag) => versionOf(tag) === version), `${version} came up`);
    assert.equal(image, "active.img");
    const { tries, unfinished, slots } = await guest.status();
    assert.deepEqual({ tries, unfinished }, { tries: "", unfinished: false });
    const [active] = slots;
    assert.deepEqual([active?.version, active?.boot, active?.running], [version, "good", true]);
  });

/** One that is in no slot, so that all of it must be fetched. */
async function freshTag(guest: Guest): Promise<VmTag> {
  const { slots } = await guest.status();
  const tag = GOOD.find((one) => slots.every(({ version }) => version !== versionOf(one)));
  assert.ok(tag !== undefined, "all good systems are installed");
  return tag;
}

/** Takes the power away when the disk has taken so much since the upgrade began, or when it is through. Throws where it fails before. */
export async function cutDuring(
  { power, upgrade }: { power: Pick<Guest["power"], "written" | "cut">; upgrade: Guest["upgrade"] },
  tag: VmTag,
  after: Written,
): Promise<void> {
  const begin = await power.written();
  let through = false, failure: unknown;
  // Without power it fails, whether it was through or not; nobody asks it then.
  void upgrade(tag, "--allow-downgrade").then(() => through = true, (error) => failure = error);
  for (;;) {
    const { bytes, flushes } = await power.written();
    if (failure !== undefined) throw failure;
    if (through || bytes - begin.bytes >= after.bytes && flushes - begin.flushes >= after.flushes) break;
  }
  await power.cut();
}

export const cutRollback: Scenario = {
  name: "cut-rollback",
  needs: ["panics"],
  shows:
    "v1 runs as the fallback and rolls back, and the power goes at every step of that: v1 comes up, and is the active system after another rollback",
  run: async (machine) => {
    await upgradeOffline(machine, "panics", "--try");
    await machine.bootFails();
    const { flushes, cutAt } = await record(
      machine,
      (options) => bootInto(machine, "v1", "passive", options),
      (fallback) => fallback.must("rollback"),
    );
    assert.ok(flushes.length > 3, `only ${flushes.length} flushes`);
    let seen = "", booted = 0;
    for (const [i, moment] of flushes.entries()) {
      await cutAt(moment);
      const found = await machine.whileOff(bothViews);
      if (found === seen) continue;
      seen = found;
      booted++;
      // The look has replayed the journal.
      await cutAt(moment);
      try {
        await bootAndRollBack(machine);
      } catch (error) {
        throw new Error(`Cut at step ${i + 1} of ${flushes.length}: ${error instanceof Error ? error.message : error}`);
      }
    }
    return `${flushes.length} flushes, after which ${booted} things were to be seen in turn`;
  },
};

/** All that the next boot goes by, as GRUB finds it (without the journal) and as Linux does. */
async function bothViews({ partitions: { state } }: OpenDisk): Promise<string> {
  const listed = await run("debugfs", ["-R", "ls -p /cOS", state]);
  const grub = [...listed.matchAll(/^\/(\d+)\/.*\/(\w+\.img)\//gm)].map(([, ino, name]) => `${name} ${ino}`);
  const counted = await run("debugfs", ["-R", "cat /boot_assessment", state]);
  await using mounted = await mount(state);
  const images = join(mounted.path, "cOS");
  const linux = readdirSync(images).filter((name) => name.endsWith(".img")).map((name) => {
    const path = join(images, name);
    return `${name} ${statSync(path).ino} ${imageLabel(path)}`;
  });
  return JSON.stringify([
    grub.sort(),
    counted,
    linux.sort(),
    readFileSync(join(mounted.path, "boot_assessment"), "utf8"),
  ]);
}

async function bootAndRollBack(machine: VmMachine): Promise<void> {
  {
    await using v1 = await machine.boot();
    assert.equal(v1.up.version, versionOf("v1"));
    const { slots: [active] } = await v1.status();
    // Once v1 is the active system, by the cut rollback or by what has mended it, another one would lead away from it.
    if (active?.running !== true) await v1.must("rollback");
    await v1.reboot();
  }
  await using v1 = await bootInto(machine, "v1", "active");
  assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
  const [active, passive = ""] = slotsOf(await v1.status());
  assert.equal(active, "active: 1.0.0 good, running");
  assert.ok(["passive: the same", "passive: 2.0.1 bad"].includes(passive), passive);
}
