/** A machine with a disk of its own, from boot to boot, as scenarios see it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { BootStatus } from "../../../lib/operations/boot-status.ts";
import type { Status } from "../../../lib/operations/status.ts";
import { type OpenDisk, openDisk } from "../disk.ts";
import { runProgram } from "../machine.ts";
import { versionOf, type VmTag } from "./images.ts";
import type { VmLab } from "./lab.ts";
import { type Answer, type Firmware, type Powered, powerOn, type Up } from "./qemu.ts";

export interface VmMachine {
  lab: VmLab;
  /** The disk's file. */
  disk: string;
  /** Switches it on, and waits until its system is up. */
  boot(options?: BootOptions): Promise<Guest>;
  /** Switches it on, and waits until it restarts or goes off by itself, which it must before any system is up. Returns its console. */
  bootFails(): Promise<string>;
  /** Does something to the disk while the machine is off. */
  whileOff<T>(what: (disk: OpenDisk) => Promise<T>): Promise<T>;
  /** Runs `cos WORDS…` of this host on the state partition, while the machine is off. Must succeed. */
  offline(...words: string[]): Promise<void>;
}

/** What an entry of the boot menu starts. */
export type Image = "active" | "passive" | "recovery";

export interface BootOptions {
  /** Where each write and flush is recorded. */
  writeLog?: string;
}

export interface Guest extends AsyncDisposable {
  up: Up;
  power: Powered;
  /** Runs `cos WORDS…` there. */
  cos(...words: string[]): Promise<Answer>;
  /** The same; throws where it does not end with 0. Returns what it has printed. */
  must(...words: string[]): Promise<string>;
  /** Runs a script of its shell; throws where it does not end with 0. */
  shell(script: string): Promise<string>;
  upgrade(tag: VmTag, ...words: string[]): Promise<string>;
  status(): Promise<Status>;
  bootStatus(): Promise<BootStatus>;
  /** Ends with a restart, in order. */
  reboot(): Promise<void>;
  /** The same, by `cos reboot --into ENTRY`. */
  rebootInto(entry: Image): Promise<void>;
}

/** @param directory for the disk and what each boot says: `1.log`, `2.log`, … */
export async function vmMachine(lab: VmLab, firmware: Firmware, directory: string): Promise<VmMachine> {
  const disk = join(directory, "disk.raw");
  await lab.copyDisk(disk);
  let boots = 0;
  const on = (options: BootOptions = {}) =>
    powerOn({ firmware, disk, directory, console: join(directory, `${++boots}.log`), ...options });
  const whileOff = async <T>(what: (disk: OpenDisk) => Promise<T>) => {
    await using opened = await openDisk(disk, true);
    return await what(opened);
  };
  return {
    lab,
    disk,
    boot: async (options) => {
      const power = await on(options);
      try {
        return guest(lab, power, await power.up());
      } catch (error) {
        await power[Symbol.asyncDispose]();
        throw error;
      }
    },
    bootFails: async () => {
      await using power = await on();
      const first = await Promise.race([power.ended(), power.up()]);
      if (typeof first !== "string") assert.fail(`a system came up: ${first.version} from ${first.image}`);
      assert.equal(first, "guest-reset");
      return power.console();
    },
    whileOff,
    offline: (...words) =>
      whileOff(async ({ partitions }) => {
        const { status, out, err } = await runProgram(lab.program, [...words, "--state", partitions.state]);
        assert.equal(status, 0, `cos ${words.join(" ")}: ${err}${out}`);
      }),
  };
}

function guest(lab: VmLab, power: Powered, up: Up): Guest {
  const must = async (script: string) => {
    const { status, out, err } = await power.run(script);
    assert.equal(status, 0, `${script}: ${err}${out}`);
    return out;
  };
  const cos = (...words: string[]) => power.run(`cos ${words.join(" ")}`);
  return {
    up,
    power,
    cos,
    must: (...words) => must(`cos ${words.join(" ")}`),
    shell: must,
    upgrade: (tag, ...words) =>
      must(`cos upgrade ${lab.reference(tag, "guest")} --plain-http --no-verify ${words.join(" ")}`),
    status: async () => JSON.parse(await must("cos status --json")) as Status,
    bootStatus: async () => JSON.parse(await must("cos boot status --json")) as BootStatus,
    reboot: async () => {
      // The answer never comes.
      power.run("sync; reboot -f").catch(() => {});
      assert.equal(await power.ended(), "guest-reset");
    },
    rebootInto: async (entry) => {
      const answer = power.run(`cos reboot --into ${entry}`);
      answer.catch(() => {});
      const first = await Promise.race([power.ended(), answer]);
      if (typeof first !== "string") assert.fail(`it does not restart: ${first.err}${first.out}`);
      assert.equal(first, "guest-reset");
    },
    [Symbol.asyncDispose]: () => power[Symbol.asyncDispose](),
  };
}

/** What runs is that system, all of it, from that image. */
export function assertRuns(
  { lab }: VmMachine,
  { up }: Guest,
  tag: VmTag,
  image: Image,
): void {
  const kernel = lab.kernels[tag === "v1" ? "v1" : "v2"];
  const { version, kernel: running, image: from } = up;
  assert.deepEqual({ version, running, from }, { version: versionOf(tag), running: kernel, from: `${image}.img` });
}

/** The version and the state that `status` tells of the slots. */
export function slotsOf({ slots }: Status): string[] {
  return slots.map(({ slot, version, sameAsActive, boot, running }) =>
    `${slot}: ${sameAsActive === true ? "the same" : `${version} ${boot}`}${running ? ", running" : ""}`
  );
}
