/** What scenarios have in common. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mount } from "../../disk.ts";
import { versionOf, type VmTag } from "../images.ts";
import { assertRuns, type BootOptions, type Guest, type Image, slotsOf, type VmMachine } from "../machine.ts";

export interface Scenario {
  name: string;
  /** The systems that it needs besides v1. */
  needs: readonly VmTag[];
  /** What it shows, as a sentence. */
  shows: string;
  /** @param seed for those that choose by chance. Returns what is worth knowing besides that it passed. */
  run(machine: VmMachine, seed: number): Promise<string | void>;
}

/** Boots, and looks what runs. */
export async function bootInto(
  machine: VmMachine,
  tag: VmTag,
  image: Image,
  options?: BootOptions,
): Promise<Guest> {
  return await bootChecked(machine, (guest) => assertRuns(machine, guest, tag, image), options);
}

/** Boots; what is not as `check` wants it goes off again. */
export async function bootChecked(
  machine: VmMachine,
  check: (guest: Guest) => Promise<void> | void,
  options?: BootOptions,
): Promise<Guest> {
  const guest = await machine.boot(options);
  try {
    await check(guest);
    return guest;
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
}

/** v1 upgrades itself from the registry and restarts into v2, which is good, and restarts. */
export async function upgradesItself(machine: VmMachine): Promise<void> {
  {
    await using v1 = await bootInto(machine, "v1", "active");
    await v1.upgrade("v2");
    await v1.reboot();
  }
  await using v2 = await bootInto(machine, "v2", "active");
  assert.match(v2.up.cmdline, /(^| )cos\.tries_left=2( |$)/);
  const status = await v2.status();
  assert.deepEqual(slotsOf(status), ["active: 2.0.0 good, running", "passive: 1.0.0 good"]);
  assert.equal(status.tries, "");
  await v2.reboot();
}

/** An upgrade by this host, as from a live system: faster than in the guest, and the same for what follows. */
export const upgradeOffline = (machine: VmMachine, tag: VmTag, ...flags: string[]) =>
  machine.offline("upgrade", machine.lab.reference(tag, "host"), "--no-verify", ...flags);

/** Does something to the active image while the machine is off. */
export async function changeImage(machine: VmMachine, what: (image: string) => Promise<void>): Promise<void> {
  await machine.whileOff(async ({ partitions }) => {
    await using state = await mount(partitions.state, "rw");
    await what(join(state.path, "cOS/active.img"));
  });
}

/** The new system is known to have failed, the one before it runs in its place and knows why. */
export async function assertFellBack(guest: Guest, failed: VmTag, why: string, kept: VmTag = "v1"): Promise<void> {
  assert.match(guest.up.cmdline, /(^| )upgrade_failure( |$)/);
  const status = await guest.status();
  assert.deepEqual(slotsOf(status), [
    `active: ${versionOf(failed)} bad`,
    `passive: ${versionOf(kept)} good, running`,
  ]);
  assert.equal(status.tries, "0");
  const { fellBack, next, knownBad } = await guest.bootStatus();
  assert.deepEqual(
    { fellBack, next, why: knownBad.map((one) => one.why) },
    { fellBack: true, next: "passive", why: [why] },
  );
}
