/** GRUB itself, in qemu: what it reads and does on real disks, without a boot of anything else. */
import { existsSync } from "node:fs";
import { run } from "./run.ts";

/** Of grub-pc-bin. */
const GRUB = "/usr/lib/grub/i386-pc";
const QEMU = "/usr/bin/qemu-system-x86_64";

/** For tests: they are skipped where the two are not installed. */
export const GRUB_NEEDS = { ignore: !existsSync(`${GRUB}/boot.img`) || !existsSync(QEMU) };

/** What an early configuration begins with: it speaks by the serial line. */
export const BY_SERIAL = `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
`;
export const SERIAL_MODULES = ["biosdisk", "serial", "echo", "reboot", "halt", "sleep", "minicmd"];

/** Writes a disk that BIOS starts GRUB from. @param early what it does at once. */
export async function writeGrubDisk(path: string, early: string, modules: readonly string[]): Promise<void> {
  const [core, config] = [`${path}.core`, `${path}.cfg`];
  Deno.writeTextFileSync(config, early);
  await run("grub-mkimage", ["-d", GRUB, "-O", "i386-pc", "-o", core, "-p", "(hd1)/grub2", "-c", config, ...modules]);
  // boot.img loads what begins in the next sector.
  const disk = new Uint8Array(1 << 20);
  disk.set(Deno.readFileSync(`${GRUB}/boot.img`));
  disk.set(Deno.readFileSync(core), 512);
  Deno.writeFileSync(path, disk);
}

/** What it says until it ends: lines of at most 80 columns. @param disks the first is GRUB's own. */
export async function startGrub(disks: readonly string[]): Promise<string> {
  const drives = disks.flatMap((path) => ["-drive", `file=${path},format=raw,if=ide`]);
  const machine = ["-accel", "tcg", "-m", "128", "-display", "none", "-no-reboot", "-serial", "stdio"];
  return await run("timeout", ["60", QEMU, ...machine, ...drives]);
}
