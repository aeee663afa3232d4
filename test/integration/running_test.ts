/** A machine that runs from one of its slots: what is running is never touched, and always kept. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot, type Booted } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { attach, mount } from "../lab/disk.ts";
import { staticFile } from "../lab/static-file.ts";
import { type LabMachine, runProgram } from "../lab/machine.ts";
import { run } from "../lab/run.ts";

function machineWith(first: string, ...upgrades: string[]): Promise<DeployedMachine> {
  const more = mountPoints();
  return deployedMachine({ v1: { more }, v2: { more }, v3: { more } }, { first, upgrades, stateMiB: 500 });
}

async function must(booted: Booted, ...words: string[]): Promise<string> {
  const { status, out, err } = await booted.cos(...words);
  assert.equal(status, 0, `cos ${words.join(" ")}\n${err}`);
  return out;
}

const versions = async (machine: LabMachine) => {
  const { active, passive } = await machine.slots();
  return { active: active?.version, passive: passive?.version, labels: [active?.label, passive?.label] };
};

const LABELS = ["COS_ACTIVE", "COS_PASSIVE"];

Deno.test("the running active system becomes the fallback, and stays it however often is upgraded before a reboot", async () => {
  await using machine = await machineWith("v1");
  {
    await using booted = await boot(machine, "active");
    assert.match(await must(booted, "status"), /^\* active {3}Small v1, running$/m);
    await must(booted, "upgrade", "oci:/tmp/os:v2", "--no-verify");
    assert.equal(booted.stateIsReadOnly(), true);
    const status = await must(booted, "status");
    assert.match(status, /^ {2}active {3}Small v2$/m);
    assert.match(status, /^\* passive {2}Small v1, running$/m);
    // It runs, so it ran well; the new one has not yet.
    assert.match(status, /\* passive[^*]*state {4}ran well/);
    await must(booted, "upgrade", "oci:/tmp/os:v3", "--no-verify");
    assert.equal(booted.stateIsReadOnly(), true);
  }
  assert.deepEqual(await versions(machine), { active: "v3", passive: "v1", labels: LABELS });
});

Deno.test("an upgrade from the passive system replaces the active one and keeps what runs", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using booted = await boot(machine, "passive");
    assert.match(await must(booted, "status"), /^\* passive {2}Small v1, running$/m);
    await must(booted, "upgrade", "oci:/tmp/os:v3", "--no-verify");
  }
  assert.deepEqual(await versions(machine), { active: "v3", passive: "v1", labels: LABELS });
});

Deno.test("a rollback while the passive system runs makes it the active one for good", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using booted = await boot(machine, "passive");
    await must(booted, "rollback");
    const status = await must(booted, "status");
    assert.match(status, /^\* active {3}Small v1, running$/m);
    assert.match(status, /^ {2}passive {2}the same image as active$/m);
  }
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, active?.label, passive?.ino], ["v1", "COS_ACTIVE", active?.ino]);
});

Deno.test("a rollback from the running active system keeps it as the fallback", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using booted = await boot(machine, "active");
    await must(booted, "rollback");
    assert.match(await must(booted, "status"), /^\* passive {2}Small v2, running$/m);
  }
  assert.deepEqual(await versions(machine), { active: "v1", passive: "v2", labels: LABELS });
});

Deno.test("an upgrade to what is passive and ran well only switches", async () => {
  await using machine = await machineWith("v1");
  {
    await using booted = await boot(machine, "active");
    await must(booted, "upgrade", "oci:/tmp/os:v2", "--no-verify");
  }
  const before = await machine.slots();
  await using booted = await boot(machine, "active");
  const { err } = await booted.cos("upgrade", "oci:/tmp/os:v1", "--no-verify");
  assert.match(err, /plan {5}it is the passive system already: switch, without fetching anything/);
  const after = await machine.slots();
  assert.deepEqual([after.active?.ino, after.passive?.ino], [before.passive?.ino, before.active?.ino]);
});

Deno.test("a machine whose running image lost its names is asked to reboot first", async () => {
  await using machine = await machineWith("v1", "v2");
  await using booted = await boot(machine, "active");
  // What an older tool does that is run twice without a reboot.
  const remount = (mode: string) =>
    new Deno.Command("mount", { args: ["-o", `remount,${mode}`, booted.state] }).output();
  await remount("rw");
  Deno.removeSync(join(booted.state, "cOS/active.img"));
  Deno.linkSync(join(booted.state, "cOS/passive.img"), join(booted.state, "cOS/active.img"));
  for (const words of [["upgrade", "oci:/tmp/os:v3", "--no-verify"], ["rollback"]]) {
    const { status, err } = await booted.cos(...words);
    assert.equal(status, 9);
    // The first run may mend the labels that such a tool leaves, and says so before.
    assert.equal(
      err.slice(err.indexOf("Error: ")),
      "Error: Cannot change /run/initramfs/cos-state: the running system is neither active.img nor passive.img any more.\n" +
        "  It was replaced since it was booted, most likely by an older tool: reboot, then run it again.\n",
    );
  }
  assert.match(
    await must(booted, "status"),
    /^The running system is neither slot any more: it was replaced since it was booted\. Reboot before the next change\.$/m,
  );
});

Deno.test("a damaged active image is never kept as the fallback in the place of a whole one", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using state = await mount(machine.state, "rw");
    await Deno.writeFile(join(state.path, "cOS/active.img"), new Uint8Array(1 << 20).fill(0x55));
  }
  const { err } = await machine.must("upgrade", machine.image("v3"), "--no-verify");
  assert.match(err, /passive {2}becomes Small v1, the passive system of now/);
  assert.deepEqual(await versions(machine), { active: "v3", passive: "v1", labels: LABELS });
});

Deno.test("an active image that lost its kernel is replaced by the very image that the record says it is", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using state = await mount(machine.state, "rw");
    await run("debugfs", ["-w", "-R", "rm /boot/vmlinuz", join(state.path, "cOS/active.img")]);
  }
  const { err } = await machine.must("upgrade", machine.image("v2"), "--no-verify");
  assert.match(err, /passive {2}becomes Small v1, the passive system of now/);
  assert.deepEqual(await versions(machine), { active: "v2", passive: "v1", labels: LABELS });
});

Deno.test("a damaged passive image keeps nobody from upgrading, and is no target of a rollback", async () => {
  await using machine = await machineWith("v1", "v2");
  {
    await using state = await mount(machine.state, "rw");
    await Deno.writeFile(join(state.path, "cOS/passive.img"), new Uint8Array(1 << 20).fill(0x55));
  }
  assert.deepEqual(await machine.cos("rollback"), {
    status: 19,
    out: "",
    err: `Error: Cannot roll back on ${machine.state}: passive.img could not boot.\n` +
      "  It is damaged, or has no kernel, initrd or boot arguments; put a whole system in its place with: cos upgrade IMAGE\n",
  });
  await machine.must("upgrade", machine.image("v3"), "--no-verify");
  assert.deepEqual(await versions(machine), { active: "v3", passive: "v2", labels: LABELS });
});

Deno.test("output that nobody takes stops nothing", async () => {
  await using machine = await machineWith("v1");
  const words = ["upgrade", machine.image("v2"), "--no-verify", "--state", machine.state];
  const args = ["-c", 'exec "$@" >/dev/full 2>/dev/full', "sh", await staticFile(), ...words];
  assert.equal((await new Deno.Command("sh", { args, stdin: "null" }).output()).code, 0);
  assert.deepEqual(await versions(machine), { active: "v2", passive: "v1", labels: LABELS });
});

Deno.test("a loop device that is freed while it is looked at is none", async () => {
  await using machine = await machineWith("v1");
  await using held = await attach(join(machine.directory, "os/index.json"), ["--read-only"]);
  const path = `/sys/block/${held.device.split("/").at(-1)}/loop/backing_file`;
  const words = [await staticFile(), "status", "--state", machine.state];
  const fault = ["-f", "-qqq", "-o", "/dev/null", "-P", path, "-e", "inject=read:error=ENODEV"];
  const { status, err } = await runProgram("strace", [...fault, ...words]);
  assert.equal(status, 0, err);
});
