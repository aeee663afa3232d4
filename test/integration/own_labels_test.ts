/** Machines whose partitions and images have labels of their own, as settings and boot menus say them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { deployedMachine, versions } from "../lab/deployed.ts";
import { imageLabel, mount } from "../lab/disk.ts";
import { etcRoom } from "../lab/etc-room.ts";
import { blockOf, LABELS } from "../lab/family-machine.ts";
import { type LabMachine, labMachine, runProgram } from "../lab/machine.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";
import { parseEnvBlock } from "../../lib/formats/env-block.ts";

const NAMES = ["state", "recovery", "oem", "persistent", "active", "passive", "system"];
const SETTINGS = NAMES.map((name) => `${name.toUpperCase()}_LABEL=OUR_${name.toUpperCase()}\n`).join("");

async function ownMachine(): Promise<LabMachine> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await labMachine({ stateMiB: 300 }));
  for (const [name, device] of Object.entries(machine.disk.partitions)) {
    await run("e2label", [device, `OUR_${name.toUpperCase()}`]);
  }
  const more = mountPoints();
  writeSmallOs(join(machine.directory, "os"), { v1: { more }, v2: { more }, v3: { more } });
  made.move();
  return machine;
}

async function exists(device: string, path: string): Promise<boolean> {
  await using mounted = await mount(device);
  return await Deno.stat(join(mounted.path, path)).then(() => true, () => false);
}

Deno.test("the settings' labels lead to the partitions and are given to the images, also by those who do not see them", async () => {
  await using machine = await ownMachine();
  const { state, directory, disk: { partitions } } = machine, image = (tag: string) => `oci:${directory}/os:${tag}`;
  await using room = await etcRoom({ directory });
  room.write("cos/config", SETTINGS);
  const inRoom = async (...words: string[]) => {
    const { status, err } = await room.cos(...words);
    assert.equal(status, 0, err);
  };
  // Nobody says where the partition is.
  await inRoom("deploy", image("v1"), "--no-verify");
  await inRoom("upgrade", image("v2"), "--no-verify");
  assert.deepEqual(await versions(machine), ["v2 OUR_ACTIVE", "v1 OUR_PASSIVE"]);
  assert.equal(await exists(partitions.recovery, "cOS/state.json"), true);
  await inRoom("upgrade", "--recovery", image("v2"), "--no-verify");
  {
    await using recovery = await mount(partitions.recovery);
    assert.equal(imageLabel(join(recovery.path, "cOS/recovery.img")), "OUR_SYSTEM");
  }
  // An initramfs and a live CD have no such settings: what is noted in the record counts there.
  await machine.must("rollback");
  assert.deepEqual(await versions(machine), ["v1 OUR_ACTIVE", "v2 OUR_PASSIVE"]);
  await machine.must("upgrade", image("v3"), "--no-verify");
  assert.deepEqual(await versions(machine), ["v3 OUR_ACTIVE", "v1 OUR_PASSIVE"]);
  await using booted = await boot(machine, "active", {
    cmdline: "root=LABEL=OUR_STATE cos-img/filename=/cOS/active.img",
    etc: { "cos/config": SETTINGS },
  });
  const reboot = await booted.cos("reboot", "--into", "passive");
  assert.equal(reboot.status, 0, reboot.err);
  assert.deepEqual([await exists(partitions.oem, "grubenv"), await exists(state, "grubenv")], [true, false]);
});

Deno.test("the boot menu's own word is stronger: what GRUB does not find does not boot", async () => {
  await using machine = await ownMachine();
  const { state, directory, disk: { partitions } } = machine;
  await run("e2label", [partitions.oem, "MENU_OEM"]);
  await machine.must("deploy", `oci:${directory}/os:v1`, "--no-verify");
  assert.deepEqual(await versions(machine), ["v1 COS_ACTIVE", "v1 COS_ACTIVE"]);
  {
    await using mounted = await mount(state, "rw");
    const labels = { oem_label: "MENU_OEM", active_label: "MENU_ACTIVE", passive_label: "far too long for a label" };
    Deno.writeFileSync(join(mounted.path, "grub_oem_env"), blockOf(labels));
  }
  await using booted = await boot(machine, "active", { etc: { "cos/config": SETTINGS } });
  const upgraded = await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify");
  assert.equal(upgraded.status, 0, upgraded.err);
  assert.deepEqual(await versions(machine), ["v2 MENU_ACTIVE", "v1 OUR_PASSIVE"]);
  const reboot = await booted.cos("reboot", "--into", "passive");
  assert.equal(reboot.status, 0, reboot.err);
  assert.deepEqual([await exists(partitions.oem, "grubenv"), await exists(state, "grubenv")], [true, false]);
});

Deno.test("a file that is at fault is told, and stops nothing that needs only a label of it", async () => {
  await using machine = await ownMachine();
  const { directory } = machine;
  await machine.must("deploy", `oci:${directory}/os:v1`, "--no-verify");
  await using room = await etcRoom({ directory });
  room.write("cos/config", "VERIFY=perhaps\nSTATE_LABEL=OUR_STATE\nOEM_LABEL=$UNKNOWN\n");
  const { status, err, out } = await room.cos("status");
  assert.equal(status, 0, err);
  assert.equal(
    err,
    "Warning: Cannot use /etc/cos/config, line 3: the value of OEM_LABEL holds what only a shell could expand.\n",
  );
  assert.match(out, /v1/);
  room.write("cos/config", "STATE_LABEL=NOBODY\n");
  const missing = await room.cos("status");
  assert.deepEqual([missing.status, missing.err], [
    4,
    "Error: Cannot find a state partition: no filesystem here has the label NOBODY.\n  Run it on an image-based system, or name the partition with --state; another label is said as STATE_LABEL in /etc/cos/config.\n",
  ]);
});

Deno.test("a new system's settings change no label that the entry of this boot has matched: neither entry would boot", async () => {
  const more = mountPoints();
  await using machine = await deployedMachine({ v1: { more }, v2: { more } }, { stateMiB: 300, upgrades: ["v2"] });
  const etc = { "cos/config": "ACTIVE_LABEL=OUR_ACTIVE\nPASSIVE_LABEL=OUR_PASSIVE\n" };
  await using booted = await boot(machine, "active", {
    cmdline: "root=LABEL=COS_ACTIVE cos-img/filename=/cOS/active.img",
    etc,
  });
  const good = await booted.cos("boot", "good");
  assert.equal(good.status, 0, good.err);
  assert.deepEqual(await versions(machine), ["v2 COS_ACTIVE", "v1 COS_PASSIVE"]);
  await machine.must("rollback");
  assert.deepEqual(await versions(machine), ["v1 COS_ACTIVE", "v2 COS_PASSIVE"]);
});

Deno.test("nor does a reset in a recovery system that has such settings, if its entry matched the usual label", async () => {
  await using machine = await deployedMachine({ v1: {}, v2: {} }, { stateMiB: 300 });
  const { directory } = machine;
  Deno.writeTextFileSync(join(directory, "config"), SETTINGS);
  const enter =
    'mount --bind "$1/cmdline" /proc/cmdline; mount -t tmpfs none /etc; mkdir /etc/cos; cp "$1/config" /etc/cos; shift; exec "$@"';
  const reset = async (cmdline: string) => {
    Deno.writeTextFileSync(join(directory, "cmdline"), `${cmdline} cos-img/filename=/cOS/recovery.img\n`);
    const words = [await staticFile(), "reset", machine.image("v2"), "--no-verify", "--state", machine.state];
    const { status, err } = await runProgram("unshare", ["-m", "sh", "-ec", enter, "sh", directory, ...words]);
    assert.equal(status, 0, err);
    return (await machine.slots()).active?.label;
  };
  assert.equal(await reset("root=LABEL=COS_SYSTEM"), "COS_ACTIVE");
  assert.equal(await reset("root=LABEL=OUR_SYSTEM"), "OUR_ACTIVE");
});

Deno.test("what the boot menu is told to look for is what there is, whoever else says otherwise", async () => {
  const menu = async (machine: LabMachine, yaml: string) => {
    await using mounted = await mount(machine.state, "rw");
    Deno.mkdirSync(join(mounted.path, "grub2"));
    Deno.writeTextFileSync(join(mounted.path, "grub2/grub.cfg"), "load_env -f (${root})/grub_oem_env\n");
    Deno.writeTextFileSync(join(mounted.path, "state.yaml"), yaml);
  };
  const told = async ({ state }: LabMachine) => {
    await using mounted = await mount(state);
    const { default_menu_entry: _, ...labels } = Object.fromEntries(
      parseEnvBlock(Deno.readFileSync(join(mounted.path, "grub_oem_env"))) ?? [],
    );
    return labels;
  };
  const more = mountPoints();
  {
    await using machine = await deployedMachine({ v1: { more }, v2: { more } }, { stateMiB: 300 });
    await menu(machine, "state: {label: ELSE, active: {label: ELSE}, passive: {label: ELSE}}\noem: {label: MY_OEM}\n");
    await machine.must("upgrade", machine.image("v2"), "--no-verify");
    assert.deepEqual(await versions(machine), ["v2 COS_ACTIVE", "v1 COS_PASSIVE"]);
    assert.deepEqual(await told(machine), { ...LABELS, oem_label: "MY_OEM" });
  }
  // From outside, where only the record knows them.
  await using machine = await ownMachine();
  const { directory } = machine, image = (tag: string) => `oci:${directory}/os:${tag}`;
  {
    await using room = await etcRoom({ directory });
    room.write("cos/config", SETTINGS);
    const deployed = await room.cos("deploy", image("v1"), "--no-verify");
    assert.equal(deployed.status, 0, deployed.err);
  }
  await menu(machine, "");
  await machine.must("upgrade", image("v2"), "--no-verify");
  assert.deepEqual(await versions(machine), ["v2 OUR_ACTIVE", "v1 OUR_PASSIVE"]);
  assert.deepEqual(await told(machine), Object.fromEntries(NAMES.map((n) => [`${n}_label`, `OUR_${n.toUpperCase()}`])));
});

Deno.test("a recovery partition whose label nobody there knows is not taken for the state partition", async () => {
  await using machine = await ownMachine();
  const { directory, disk: { partitions } } = machine, image = `oci:${directory}/os:v1`;
  {
    await using room = await etcRoom({ directory });
    room.write("cos/config", SETTINGS);
    for (const words of [["deploy", image], ["upgrade", "--recovery", image]]) {
      const { status, err } = await room.cos(...words, "--no-verify");
      assert.equal(status, 0, err);
    }
  }
  // Its own, so that no other machine of this host is found.
  const label = `OUR_${Deno.pid}`;
  await run("e2label", [partitions.state, label]);
  Deno.writeTextFileSync(join(directory, "config"), `STATE_LABEL=${label}\n`);
  const enter = [
    'mount -t tmpfs none /etc; mkdir /etc/cos; cp "$1/config" /etc/cos; shift',
    "mount -t tmpfs none /run; mkdir -p /run/initramfs/cos-state",
    'mount "$1" /run/initramfs/cos-state; shift; exec "$@"',
  ].join("\n");
  const words = [directory, partitions.recovery, await staticFile(), "reset"];
  const reset = await runProgram("unshare", ["-m", "sh", "-ec", enter, "sh", ...words]);
  assert.equal(reset.status, 0, reset.err);
  assert.match(reset.out, / {2}passive {2}the same image as active$/m);
  assert.deepEqual(await versions(machine), ["v1 OUR_ACTIVE", "v1 OUR_ACTIVE"]);
  await using recovery = await mount(partitions.recovery);
  const names = [...Deno.readDirSync(join(recovery.path, "cOS"))].map(({ name }) => name).sort();
  assert.deepEqual(names, ["recovery.img", "state.json"]);
});
