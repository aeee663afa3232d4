/** The recovery system: upgraded in the form that is there, and what a reset makes of a machine. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { attach, imageLabel, mount, mountImage } from "../lab/disk.ts";
import { etcRoom } from "../lab/etc-room.ts";
import { heldBy, type LabMachine } from "../lab/machine.ts";
import { run } from "../lab/run.ts";

function machineWithV1(): Promise<DeployedMachine> {
  const more = mountPoints();
  return deployedMachine({ v1: { more }, v2: { more }, v3: { more } }, { stateMiB: 200 });
}

/** What lies in `cOS/` of the recovery partition. */
async function recovery(machine: LabMachine): Promise<{ names: string[]; version: string; label?: string }> {
  await using mounted = await mount(machine.disk.partitions.recovery);
  const names = [...Deno.readDirSync(join(mounted.path, "cOS"))].map(({ name }) => name).sort();
  const file = names.find((name) => name.startsWith("recovery.")) ?? "", path = join(mounted.path, "cOS", file);
  const squashed = (await run("head", ["-c", "4", path])) === "hsqs";
  await using image = squashed ? await mount(path, "ro,loop") : await mountImage(path);
  const release = Deno.readTextFileSync(join(image.path, "etc/os-release"));
  return { names, version: /^VERSION_ID=(.*)$/m.exec(release)?.[1] ?? "", ...!squashed && { label: imageLabel(path) } };
}

Deno.test("the recovery system is made, and replaced; the slots are left alone", async () => {
  await using machine = await machineWithV1();
  const before = await machine.slots();
  const { out } = await machine.must("upgrade", "--recovery", machine.image("v2"), "--no-verify");
  assert.match(out, /^The recovery system on \/dev\/\S+ is Small v2 now \(recovery\.img\):\n {2}from {5}oci:.*:v2\n/);
  assert.deepEqual(await recovery(machine), {
    names: ["recovery.img", "state.json"],
    version: "v2",
    label: "COS_SYSTEM",
  });
  const planned = await machine.cos("upgrade", "--recovery", "--dry-run", machine.image("v3"), "--no-verify");
  assert.deepEqual([planned.status, planned.err.split("\n")[0]], [
    2,
    "Error: Cannot plan an upgrade of the recovery system: --dry-run is for the system itself.",
  ]);
  assert.equal((await recovery(machine)).version, "v2");
  await machine.must("upgrade", "--recovery", machine.image("v3"), "--no-verify");
  assert.deepEqual(await recovery(machine), {
    names: ["recovery.img", "state.json"],
    version: "v3",
    label: "COS_SYSTEM",
  });
  assert.deepEqual(await machine.slots(), before);
  for (const partition of [machine.state, machine.disk.partitions.recovery]) {
    assert.deepEqual(await heldBy(partition), []);
  }
});

Deno.test("a squashfs stays one, whatever its file is called; one that is in use is not replaced", async () => {
  for (const file of ["recovery.squashfs", "recovery.img"]) {
    await using machine = await machineWithV1();
    const tree = join(machine.directory, "tree");
    Deno.mkdirSync(join(tree, "etc"), { recursive: true });
    Deno.writeTextFileSync(join(tree, "etc/os-release"), "VERSION_ID=old\n");
    {
      await using mounted = await mount(machine.disk.partitions.recovery, "rw");
      Deno.mkdirSync(join(mounted.path, "cOS"), { recursive: true });
      await run("mksquashfs", [tree, join(mounted.path, "cOS", file), "-quiet", "-no-progress"]);
      // What a run that was cut has left.
      Deno.writeTextFileSync(join(mounted.path, "cOS", `recovery-new${file.slice(8)}`), "half");
      Deno.writeTextFileSync(join(mounted.path, "cOS/transition.img"), "half");
    }
    {
      await using mounted = await mount(machine.disk.partitions.recovery);
      await using _inUse = await attach(join(mounted.path, "cOS", file), ["--read-only"]);
      const { status, err } = await machine.cos("upgrade", "--recovery", machine.image("v2"), "--no-verify");
      assert.equal(status, 37);
      assert.match(err, /Cannot upgrade the recovery system on \S+: the machine runs from it\./);
    }
    await machine.must("upgrade", "--recovery", machine.image("v2"), "--no-verify");
    assert.deepEqual(await recovery(machine), { names: [file, "state.json"].sort(), version: "v2" });
  }
});

Deno.test("a reset makes both slots the recovery system, and empties what is to be emptied, and nothing else", async () => {
  await using machine = await machineWithV1();
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  await machine.must("upgrade", "--recovery", machine.image("v3"), "--no-verify");
  const { oem, persistent } = machine.disk.partitions;
  for (const device of [oem, persistent]) {
    await using mounted = await mount(device, "rw");
    Deno.mkdirSync(join(mounted.path, "a/b"), { recursive: true });
    Deno.writeTextFileSync(join(mounted.path, "a/b/c"), "");
    Deno.symlinkSync("/etc", join(mounted.path, "link"));
  }
  const left = async (device: string) => {
    await using mounted = await mount(device);
    return [...Deno.readDirSync(mounted.path)].map(({ name }) => name).filter((name) => name !== "lost+found").sort();
  };
  const first = await machine.must("reset", "--reset-persistent");
  assert.match(first.out, /^Reset\. The next boot starts the active system:\n {2}active {3}Small v3\n/);
  assert.match(first.out, /proof {4}NOT VERIFIED: waived with the recovery system by \S+, /);
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, active?.label, passive?.ino], ["v3", "COS_ACTIVE", active?.ino]);
  assert.deepEqual([await left(oem), await left(persistent)], [["a", "link"], []]);
  assert.ok(existsSync("/etc/hostname"));
  await machine.must("reset", machine.image("v1"), "--no-verify", "--reset-oem");
  assert.deepEqual([(await machine.slots()).active?.version, await left(oem)], ["v1", []]);
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  for (const partition of Object.values(machine.disk.partitions)) assert.deepEqual(await heldBy(partition), []);
});

Deno.test("a reset is refused on a running slot, and where there is nothing to reset to; an empty partition is filled", async () => {
  await using machine = await machineWithV1();
  {
    await using booted = await boot(machine, "active");
    const { status, err } = await booted.cos("reset");
    assert.equal(status, 36);
    assert.match(err, /Cannot reset \S+: the machine runs from it\.\n {2}Start the recovery system or a live CD/);
  }
  const none = await machine.cos("reset");
  assert.equal(none.status, 11);
  assert.match(none.err, /Cannot reset from \/dev\/\S+: it holds no recovery system\./);
  assert.equal((await machine.slots()).active?.version, "v1");
  {
    await using state = await mount(machine.state, "rw");
    Deno.removeSync(join(state.path, "cOS"), { recursive: true });
  }
  await machine.must("reset", machine.image("v2"), "--no-verify");
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, passive?.ino], ["v2", active?.ino]);
});

Deno.test("settings that give two partitions one name empty nothing that is to stay", async () => {
  await using machine = await machineWithV1();
  await machine.must("upgrade", "--recovery", machine.image("v1"), "--no-verify");
  await using room = await etcRoom(machine);
  {
    await using oem = await mount(machine.disk.partitions.oem, "rw");
    Deno.writeTextFileSync(join(oem.path, "network.yaml"), "mine\n");
  }
  for (const [name, label] of [["persistent", "COS_OEM"], ["oem", "COS_STATE"], ["oem", "COS_RECOVERY"]] as const) {
    room.write("cos/config", `${name.toUpperCase()}_LABEL=${label}\n`);
    const { status, err } = await room.cos("reset", machine.image("v2"), "--no-verify", `--reset-${name}`);
    assert.equal(status, 0, err);
    assert.match(err, new RegExp(`^Warning: ${label} is not emptied: what is to stay lies there\\.$`, "m"));
    assert.equal((await machine.slots()).active?.version, "v2");
    assert.equal((await recovery(machine)).version, "v1");
  }
  await using oem = await mount(machine.disk.partitions.oem);
  assert.equal(existsSync(join(oem.path, "network.yaml")), true);
});

Deno.test("a recovery partition that does not mount keeps nobody from a reset or an upgrade, without a record either", async () => {
  for (const words of [["reset"], ["upgrade"]]) {
    await using machine = await machineWithV1();
    {
      await using state = await mount(machine.state, "rw");
      Deno.removeSync(join(state.path, "cOS/state.json"));
    }
    {
      // The table of its groups, behind the superblock.
      using device = await Deno.open(machine.disk.partitions.recovery, { write: true });
      await device.seek(2048, Deno.SeekMode.Start);
      await device.write(new Uint8Array(2048).fill(0x55));
      await device.sync();
    }
    const { err } = await machine.must(...words, machine.image("v2"), "--no-verify");
    assert.match(err, /^Warning: Could not write the copy of the install record on the recovery partition: /m);
    assert.equal((await machine.slots()).active?.version, "v2");
  }
});
