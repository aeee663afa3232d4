/**
 * Reports of the older tools that no other test shows, named by the table at the end of docs/compatibility.md; and what was
 * found here while they were tried.
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine, UPGRADED, versions } from "../lab/deployed.ts";
import { attach, mount } from "../lab/disk.ts";
import { heldBy, type LabMachine, type Ran, runProgram } from "../lab/machine.ts";
import { startRegistry } from "../lab/registry.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";
import * as t from "../lab/tar-writer.ts";

/** A machine with these systems on it, the last one active. */
function machineWith(first: string, ...upgrades: string[]): Promise<DeployedMachine> {
  const more = mountPoints();
  return deployedMachine({ v1: { more }, v2: { more }, v3: { more } }, { first, upgrades, stateMiB: 300 });
}

/** Warnings and errors, without what the boot loader of a lab machine lacks. */
const told = ({ err }: Ran) => err.split("\n").filter((l) => /^(?:Warning|Error): /.test(l) && !/not armed/.test(l));

/** Runs the program after a script in a mount namespace of its own; `$1` is the program's directory, `$2` the device. */
async function within(script: string, device: string, ...words: string[]): Promise<Ran> {
  const args = ["-m", "sh", "-ec", `${script}\nshift 2; exec "$@"`, "sh", dirname(await staticFile()), device];
  return await runProgram("unshare", [...args, ...words]);
}

Deno.test("a partition that cannot be made read-only again is a warning, and the reboot comes", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using booted = await boot(machine, "active");
    // As the report has it: a loop device on the image that the upgrade replaces.
    await using _held = await attach(join(booted.state, "cOS/passive.img"), ["--read-only"]);
    const ran = await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify", "--reboot");
    assert.equal(ran.status, 0, ran.err);
    assert.deepEqual(told(ran), [
      "Warning: /run/initramfs/cos-state stays writable until the next boot: " +
      "something still holds it, most likely the loop device of a replaced image.",
    ]);
    assert.equal(booted.stateIsReadOnly(), false);
    assert.deepEqual(booted.restarts(), ["reboot "]);
  }
  assert.deepEqual(await versions(machine), ["v3 COS_ACTIVE", "v2 COS_PASSIVE"]);
});

Deno.test("without a persistent partition an upgrade is done without a word; a reset that is to empty it says so", async () => {
  await using machine = await machineWith("v1");
  const { image } = machine;
  await run("wipefs", ["--all", "--quiet", machine.disk.partitions.persistent]);
  assert.deepEqual(told(await machine.must("upgrade", image("v2"), "--no-verify")), []);
  assert.deepEqual(await versions(machine), UPGRADED);
  const reset = await machine.must("reset", image("v3"), "--no-verify", "--reset-persistent");
  assert.deepEqual(told(reset), [
    "Warning: There is no COS_PERSISTENT beside the state partition: nothing was emptied there.",
  ]);
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, passive?.ino], ["v3", active?.ino]);
});

/**
 * Hides /tmp, /var/tmp and /dev/shm behind filesystems without one free byte; the program is at /mnt then. The directory that
 * it is started in is one that no path leads to any more.
 */
const FULL = `
cd /
mount --bind "$1" /mnt
for d in /tmp /var/tmp /dev/shm; do
  mount -t tmpfs -o size=4k none "$d"
  head -c 4096 /dev/zero > "$d/full"
  if (echo > "$d/more") 2> /dev/null; then exit 99; fi
done`;

Deno.test("an upgrade from a registry needs no room for temporary files", async () => {
  await using machine = await machineWith("v1");
  await using registry = await startRegistry();
  const { layout } = machine;
  await registry.push(layout, "v2", "demo/os:v2");
  const words = ["upgrade", `${registry.host}/demo/os:v2`, "--no-verify", "--state", machine.state];
  const ran = await within(FULL, machine.state, "/mnt/cos", ...words);
  assert.equal(ran.status, 0, ran.err);
  assert.deepEqual(told(ran), []);
  assert.deepEqual(await versions(machine), UPGRADED);
});

async function imageBytes({ state }: LabMachine): Promise<number> {
  await using mounted = await mount(state);
  return Deno.statSync(join(mounted.path, "cOS/active.img")).size;
}

Deno.test("an image is as large as its layers ask for, and as large as is said where that is more", async () => {
  await using machine = await machineWith("v1");
  const { image } = machine, layout = join(machine.directory, "large"), before = await machine.slots();
  const noise = new Uint8Array(20 << 20), even = new Uint8Array(40 << 20);
  for (let at = 0; at < noise.length; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
  writeSmallOs(layout, {
    v2: { more: [t.file("usr/noise", noise)] },
    v3: { more: [t.file("usr/even", even.fill(1))] },
  });
  // Its layers announce next to nothing: what it takes shows while it is unpacked, and nothing is left of it.
  const full = await machine.cos("upgrade", `oci:${layout}:v3`, "--no-verify", "--size", "16");
  assert.equal(full.status, 20);
  assert.equal(
    full.err.slice(full.err.indexOf("Error: ")),
    'Error: Cannot write "usr/even": the image\'s filesystem is full.\n' +
      "  Give the image more room with --size, or use a smaller one.\n",
  );
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(await heldBy(machine.state), []);
  await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify", "--size", "16");
  assert.deepEqual(await versions(machine), UPGRADED);
  assert.ok(await imageBytes(machine) > 6 * noise.length);
  await machine.must("upgrade", image("v3"), "--no-verify", "--size", "80");
  assert.deepEqual(await versions(machine), ["v3 COS_ACTIVE", "v2 COS_PASSIVE"]);
  assert.equal(await imageBytes(machine), 80 << 20);
});

/** An e2fsck that finds something. */
const DAMAGED = `
mount -t tmpfs none /mnt
printf '#!/bin/sh\\necho Inode 12 is odd\\nexit 4\\n' > /mnt/e2fsck; chmod 755 /mnt/e2fsck
mount --bind /mnt/e2fsck "$(command -v e2fsck)"`;

Deno.test("an image in which e2fsck finds something is not switched to", async () => {
  await using machine = await machineWith("v1");
  const { image } = machine, before = await machine.slots();
  const words = ["upgrade", image("v2"), "--no-verify", "--state", machine.state];
  const ran = await within(DAMAGED, machine.state, await staticFile(), ...words);
  assert.equal(ran.status, 23, ran.err);
  assert.deepEqual(told(ran), ["Error: The new image is damaged: e2fsck ended with status 4."]);
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(await heldBy(machine.state), []);
  await machine.must("upgrade", image("v2"), "--no-verify");
  assert.deepEqual(await versions(machine), UPGRADED);
});

/**
 * A machine that has the lab's state partition alone, no udev, nothing that udev made, and none of the programs that people
 * ask for labels.
 */
const NO_UDEV = `
partition=$(readlink -f "/sys/class/block/\${2##*/}")
mount -t tmpfs none /sys/class/block; ln -s "$partition" /sys/class/block/
for d in /dev/disk /run/udev /run/blkid; do if [ -d "$d" ]; then mount -t tmpfs none "$d"; fi; done
for p in blkid findfs lsblk udevadm; do
  if p=$(command -v "$p"); then mount --bind /dev/null "$p"; fi
  if "$p" > /dev/null 2>&1; then exit 99; fi
done`;

Deno.test("the state partition is found by its superblock: without udev, its links and its programs", async () => {
  await using machine = await machineWith("v1");
  const { image } = machine, program = await staticFile();
  const ran = await within(NO_UDEV, machine.state, program, "upgrade", image("v2"), "--no-verify");
  assert.equal(ran.status, 0, ran.err);
  assert.deepEqual(told(ran), []);
  assert.deepEqual(await versions(machine), UPGRADED);
  assert.match((await within(NO_UDEV, machine.state, program, "status")).out, /^ {2}active {3}Small v2$/m);
});

/** Where it is started, no path leads to: a mount hides the directory. */
const HIDDEN = `
mount -t tmpfs none /mnt; mkdir /mnt/here; cd /mnt/here
mount -t tmpfs none /mnt`;

Deno.test("started in a directory that a mount hides, it finds its tools", async () => {
  await using machine = await machineWith("v1");
  const { image } = machine, words = ["upgrade", image("v2"), "--no-verify", "--state", machine.state];
  const ran = await within(HIDDEN, machine.state, await staticFile(), ...words);
  assert.equal(ran.status, 0, ran.err);
  assert.deepEqual(told(ran), []);
  assert.deepEqual(await versions(machine), UPGRADED);
});
