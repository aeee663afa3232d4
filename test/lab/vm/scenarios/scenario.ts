/** What scenarios have in common. */
import assert from "node:assert/strict";
import { versionOf, type VmTag } from "../images.ts";
import { assertRuns, type BootOptions, type Guest, slotsOf, type VmMachine } from "../machine.ts";

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
  image: "active" | "passive" | "recovery",
  options?: BootOptions,
): Promise<Guest> {
  const guest = await machine.boot(options);
  try {
    assertRuns(machine, guest, tag, image);
    return guest;
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
}

/** An upgrade by this host, as from a live system: faster than in the guest, and the same for what follows. */
export const upgradeOffline = (machine: VmMachine, tag: VmTag, ...flags: string[]) =>
  machine.offline("upgrade", machine.lab.reference(tag, "host"), "--no-verify", ...flags);

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
