/** Resets of a machine from its own recovery system, and cuts of the power in them. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { mount } from "../../disk.ts";
import { Random } from "../../random.ts";
import { run } from "../../run.ts";
import { assertRuns, type Guest, slotsOf, type VmMachine } from "../machine.ts";
import { record, type Recording } from "../recorded.ts";
import { bootWhole } from "./cuts.ts";
import { installRecovery } from "./entries.ts";
import { bootChecked, bootInto, type Scenario, upgradeOffline } from "./scenario.ts";

const CUTS = 5;
const RESET = ["reset", "--reset-oem", "--reset-persistent"];

/** What the operator has put into the boot menu's variables; the menu gives it to every kernel. */
const OWN_WORD = "lab.own=word";

export const resets: Scenario = {
  name: "reset",
  needs: ["v2"],
  shows:
    "v2 restarts into the recovery system, which resets the machine without a network: both systems are v1, the data is gone, and v1 upgrades itself",
  run: async (machine) => {
    const variables = await used(machine);
    {
      await using recovery = await bootInto(machine, "v1", "recovery");
      await recovery.shell('for one in /sys/class/net/*; do ip link set "${one##*/}" down; done');
      await recovery.must(...RESET);
      await recovery.reboot();
    }
    {
      await using v1 = await bootReset(machine);
      assert.equal(await menuVariables(v1), variables);
      await v1.upgrade("v2");
      await v1.reboot();
    }
    await using v2 = await bootInto(machine, "v2", "active");
    assertHasOwnWord(v2);
    assert.match(v2.up.cmdline, /(^| )cos\.tries_left=2( |$)/);
    const status = await v2.status();
    assert.deepEqual(slotsOf(status), ["active: 2.0.0 good, running", "passive: 1.0.0 good"]);
    assert.equal(status.tries, "");
  },
};

export const cutResets: Scenario = {
  name: "reset-cut",
  needs: ["v2"],
  shows:
    `the power goes at ${CUTS} moments of a reset: each time a whole system comes up by itself, and another reset from the recovery system succeeds`,
  run: async (machine, seed) => {
    await used(machine);
    const recording = await record(
      machine,
      (options) => bootInto(machine, "v1", "recovery", options),
      (recovery) => recovery.must(...RESET),
    );
    const { begin, end, flushes, bytes, cutAt } = recording, came: string[] = [];
    for (const moment of moments(recording, new Random(seed))) {
      const where = `at ${moment - begin} of ${end - begin}`;
      await cutAt(moment);
      try {
        {
          await using guest = await bootWhole(machine);
          came.push(`${where} ${guest.up.version}`);
          assertHasOwnWord(guest);
          await guest.rebootInto("recovery");
        }
        await resetAgain(machine);
      } catch (error) {
        throw new Error(`Cut ${where}: ${error instanceof Error ? error.message : error}`);
      }
    }
    await using _ = await bootReset(machine);
    return `${bytes >> 20} MiB and ${flushes.length} flushes; came up after a cut ${came.join(", ")}`;
  },
};

/** One anywhere in the writing of the image, and one in each part of the flushes, of equal size: before, in and after the switch. */
function moments({ begin, end, flushes }: Recording, random: Random): number[] {
  const bound = (part: number) => Math.floor(part * flushes.length / (CUTS - 1));
  assert.ok(bound(1) > 0, `only ${flushes.length} flushes`);
  const atFlushes = Array.from(
    { length: CUTS - 1 },
    (_, part) => flushes[bound(part) + random.next(bound(part + 1) - bound(part))] ?? end,
  );
  return [begin + random.next(end - begin), ...atFlushes];
}

/** A machine that runs v2 and has been used: data, and words of the operator's. It is off, and starts its recovery system next. */
async function used(machine: VmMachine): Promise<string> {
  await installRecovery(machine);
  await upgradeOffline(machine, "v2");
  await machine.whileOff(async ({ partitions }) => {
    await using state = await mount(partitions.state, "rw");
    const block = join(state.path, "grub_oem_env");
    if (!existsSync(block)) await run("grub-editenv", [block, "create"]);
    await run("grub-editenv", [block, "set", `extra_cmdline=${OWN_WORD}`]);
  });
  await using v2 = await bootInto(machine, "v2", "active");
  assert.deepEqual(slotsOf(await v2.status()), ["active: 2.0.0 good, running", "passive: 1.0.0 good"]);
  await v2.shell(`for data in /oem /usr/local; do
  mkdir -p "$data/lab/deep" && ln -s /etc "$data/lab/link" && echo "stages: {}" > "$data/90_lab.yaml" || exit 1
  for i in $(seq 100); do echo "$i" > "$data/lab/deep/$i" || exit 1; done
done
sync`);
  const refused = await v2.cos(...RESET);
  assert.equal(refused.status, 36, refused.err);
  const variables = await menuVariables(v2);
  await v2.rebootInto("recovery");
  return variables;
}

const assertHasOwnWord = ({ up: { cmdline } }: Guest) => assert.ok(cmdline.split(" ").includes(OWN_WORD), cmdline);

const menuVariables = (guest: Guest) => guest.shell("cat /run/initramfs/cos-state/grub_oem_env");

/** From the recovery system that starts now. */
async function resetAgain(machine: VmMachine): Promise<void> {
  await using recovery = await bootInto(machine, "v1", "recovery");
  await recovery.must(...RESET);
  const { unfinished, slots: [active, passive] } = await recovery.status();
  assert.deepEqual([active?.version, passive?.sameAsActive, unfinished], ["1.0.0", true, false]);
  await assertEmptied(recovery);
  await recovery.reboot();
}

async function assertEmptied(guest: Guest): Promise<void> {
  const found = await guest.shell("cd /oem && find . && cd /usr/local && find .");
  assert.equal(found, ".\n./lost+found\n".repeat(2));
}

/** Both systems are the recovery system, nothing is on trial, the data is gone. */
async function bootReset(machine: VmMachine): Promise<Guest> {
  return await bootChecked(machine, async (v1) => {
    assertRuns(machine, v1, "v1", "active");
    assertHasOwnWord(v1);
    assert.doesNotMatch(v1.up.cmdline, /cos\.tries_left|upgrade_failure/);
    const status = await v1.status(), { tries, unfinished, record } = status;
    assert.deepEqual(slotsOf(status), ["active: 1.0.0 good, running", "passive: the same"]);
    assert.deepEqual({ tries, unfinished, record }, { tries: "", unfinished: false, record: "present" });
    await assertEmptied(v1);
  });
}
