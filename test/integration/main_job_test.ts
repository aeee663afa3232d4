import assert from "node:assert/strict";
import { join } from "node:path";
import { labMachine, runProgram } from "../lab/machine.ts";
import { mount } from "../lab/disk.ts";
import { buildOsImages } from "../lab/os-image.ts";
import { startRegistry } from "../lab/registry.ts";
import { staticFile } from "../lab/static-file.ts";
import { writeSmallOs } from "../lab/small-os.ts";

interface Slot {
  slot: string;
  version: string;
  digest: string;
  label: string;
  uuid: string;
  verification: { scheme: string; word: string; by: string };
  source: string;
}

interface StatusJson {
  slots: Slot[];
  oneImage: boolean;
  fallbackArmed: boolean;
  unfinished: boolean;
  record: string;
  lastOperation: { kind: string; outcome: string; image: string; from: string };
}

Deno.test("a machine is deployed, upgraded and rolled back from a real registry, and status tells what is so", async () => {
  await using machine = await labMachine();
  await using registry = await startRegistry();
  const layout = join(machine.directory, "os");
  const { v1, v2 } = await buildOsImages(layout);
  for (const { tag, digest } of [v1, v2]) assert.equal(await registry.push(layout, tag, `demo/os:${tag}`), digest);
  const image = (tag: string) => `${registry.host}/demo/os:${tag}`;
  const status = async (): Promise<StatusJson> => JSON.parse((await machine.must("status", "--json")).out);

  await machine.must("deploy", image("v1"), "--no-verify");
  const deployed = await machine.slots();
  assert.deepEqual(Object.keys(deployed).sort(), ["active", "passive"]);
  assert.equal(deployed.active?.version, v1.version);
  assert.equal(deployed.active?.label, "COS_ACTIVE");
  assert.equal(deployed.active?.ino, deployed.passive?.ino);
  assert.equal((await status()).oneImage, true);

  await machine.must("upgrade", image("v2"), "--no-verify");
  const upgraded = await machine.slots();
  assert.deepEqual(Object.keys(upgraded).sort(), ["active", "passive"]);
  assert.deepEqual([upgraded.active?.version, upgraded.active?.label], [v2.version, "COS_ACTIVE"]);
  assert.deepEqual([upgraded.passive?.version, upgraded.passive?.label], [v1.version, "COS_PASSIVE"]);
  const told = await status();
  assert.deepEqual(
    told.slots.map(({ slot, version, digest, label, source }) => ({ slot, version, digest, label, source })),
    [
      { slot: "active", version: v2.version, digest: v2.digest, label: "COS_ACTIVE", source: image("v2") },
      { slot: "passive", version: v1.version, digest: v1.digest, label: "COS_PASSIVE", source: image("v1") },
    ],
  );
  assert.deepEqual(told.slots.map(({ verification: { scheme, word } }) => [scheme, word]), [
    ["skipped", "--no-verify"],
    ["skipped", "--no-verify"],
  ]);
  assert.equal(told.fallbackArmed, false);
  assert.deepEqual([told.lastOperation.kind, told.lastOperation.outcome, told.lastOperation.image], [
    "upgrade",
    "done",
    image("v2"),
  ]);

  await machine.must("rollback");
  const rolledBack = await machine.slots();
  assert.deepEqual([rolledBack.active?.version, rolledBack.active?.label], [v1.version, "COS_ACTIVE"]);
  assert.deepEqual([rolledBack.passive?.version, rolledBack.passive?.label], [v2.version, "COS_PASSIVE"]);
  assert.equal(rolledBack.active?.ino, deployed.active?.ino);
  const after = await status();
  assert.deepEqual(after.slots.map(({ version }) => version), [v1.version, v2.version]);
  assert.deepEqual([after.lastOperation.kind, after.lastOperation.from], ["rollback", v2.version]);

  // The record has a copy where a lost state partition does not take it along.
  await using recovery = await mount(machine.disk.partitions.recovery);
  await using state = await mount(machine.state);
  const copy = Deno.readTextFileSync(join(recovery.path, "cOS/state.json"));
  assert.equal(copy, Deno.readTextFileSync(join(state.path, "cOS/state.json")));
});

Deno.test("an image that is active already is not installed again", async () => {
  await using machine = await labMachine({ stateMiB: 400 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {}, v2: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  const before = await machine.slots();
  const { out } = await machine.must("upgrade", `oci:${layout}:v1`, "--no-verify");
  assert.equal(out, "Nothing to do.\n");
  assert.deepEqual(await machine.slots(), before);
});

Deno.test("an upgrade from outside keeps the system that was active, where nothing is known to have run", async () => {
  await using machine = await labMachine({ stateMiB: 400 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {}, v2: {}, v3: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify");
  await machine.must("upgrade", `oci:${layout}:v3`, "--no-verify");
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, passive?.version], ["v3", "v2"]);
});

Deno.test("a directory is a source too: its tree becomes the system, without what runs in it", async () => {
  await using machine = await labMachine({ stateMiB: 400 });
  const layout = join(machine.directory, "os"), tree = join(machine.directory, "tree");
  writeSmallOs(layout, { v1: {} });
  Deno.mkdirSync(join(tree, "etc/cos"), { recursive: true });
  Deno.mkdirSync(join(tree, "boot"));
  Deno.mkdirSync(join(tree, "proc/1"), { recursive: true });
  Deno.writeTextFileSync(join(tree, "boot/vmlinuz-1"), "kernel");
  Deno.symlinkSync("vmlinuz-1", join(tree, "boot/vmlinuz"));
  Deno.writeTextFileSync(join(tree, "boot/initrd"), "initrd");
  Deno.writeTextFileSync(join(tree, "etc/os-release"), "VERSION_ID=from-directory\n");
  Deno.writeTextFileSync(
    join(tree, "etc/cos/bootargs.cfg"),
    "set kernel=/boot/vmlinuz\nset initramfs=/boot/initrd\nset kernelcmd=quiet\n",
  );
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  await machine.must("upgrade", `dir:${tree}`, "--no-verify");
  assert.equal((await machine.slots()).active?.version, "from-directory");
  await using state = await mount(machine.state);
  const { out } = await runProgram("debugfs", ["-R", "ls -p /proc", join(state.path, "cOS/active.img")]);
  assert.deepEqual(out.match(/\/([^/]+)\/\d*\/$/gm)?.filter((line) => !/\/\.{1,2}\//.test(line)) ?? [], []);
});

Deno.test("a dry run prints the plan and changes nothing", async () => {
  await using machine = await labMachine({ stateMiB: 400 });
  const layout = join(machine.directory, "os");
  const digests = writeSmallOs(layout, { v1: {}, v2: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  const before = await machine.slots();
  const { out } = await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify", "--dry-run");
  assert.equal(
    out.replace(/[0-9.]+ MiB free/, "N MiB free").replace(/[0-9]+ bytes/, "N bytes").replace(/by \S+/, "by USER"),
    `Upgrade to oci:${layout}:v2
  digest   ${digests.v2}
  proof    NOT VERIFIED: waived with --no-verify by USER
  fetch    N bytes; N MiB free
  active   becomes oci:${layout}:v2
  passive  becomes Small v1, the active system of now
Warning: Fallback is not armed: GRUB on this machine does not count failed boots; choose the fallback entry by hand if need be.
`,
  );
  assert.deepEqual(await machine.slots(), before);
});

Deno.test("the state partition is found by its label where none is named", async () => {
  await using machine = await labMachine({ stateMiB: 400 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {} });
  const program = await staticFile();
  const { status, err } = await runProgram(program, ["deploy", `oci:${layout}:v1`, "--no-verify"]);
  assert.equal(status, 0, err);
  assert.equal((await machine.slots()).active?.version, "v1");
});

Deno.test("images of older tools, without a record, are upgraded and their versions shown", async () => {
  await using machine = await labMachine({ stateMiB: 600 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {}, v2: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  {
    // What the shell tools left: two copies made by plain mkfs, with labels, and nothing else.
    await using state = await mount(machine.state, "rw");
    const images = join(state.path, "cOS");
    Deno.removeSync(join(images, "state.json"));
    await using inside = await mount(join(images, "active.img"), "loop,ro");
    for (const [slot, label] of [["old-active", "COS_ACTIVE"], ["old-passive", "COS_PASSIVE"]] as const) {
      const path = join(images, slot);
      const made = await runProgram("mke2fs", [
        "-q",
        "-t",
        "ext4",
        "-O",
        "metadata_csum",
        "-L",
        label,
        "-d",
        inside.path,
        path,
        "64M",
      ]);
      assert.equal(made.status, 0, made.err);
    }
    await inside.close();
    Deno.renameSync(join(images, "old-active"), join(images, "active.img"));
    Deno.renameSync(join(images, "old-passive"), join(images, "passive.img"));
  }
  const { out } = await machine.must("status");
  assert.match(out, /active {3}Small v1\n {11}proof {4}NOT VERIFIED: no record of who vouched for it/);
  assert.match(out, /There is no install record: other tools made these images\./);
  await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify");
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, active?.label], ["v2", "COS_ACTIVE"]);
  assert.deepEqual([passive?.version, passive?.label], ["v1", "COS_PASSIVE"]);
  await machine.must("rollback");
  const back = await machine.slots();
  assert.deepEqual([back.active?.version, back.active?.label], ["v1", "COS_ACTIVE"]);
  await using state = await mount(machine.state);
  for (const name of ["active", "passive"]) {
    const { status, out } = await runProgram("e2fsck", ["-fn", join(state.path, `cOS/${name}.img`)]);
    assert.equal(status, 0, out);
  }
});

for (const stateFilesystem of ["xfs", "btrfs"] as const) {
  Deno.test(`the state partition may be ${stateFilesystem}`, async () => {
    await using machine = await labMachine({ stateFilesystem, stateMiB: 600 });
    const layout = join(machine.directory, "os");
    writeSmallOs(layout, { v1: {}, v2: {} });
    await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
    await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify");
    await machine.must("rollback");
    const { active, passive } = await machine.slots();
    assert.deepEqual([active?.version, active?.label], ["v1", "COS_ACTIVE"]);
    assert.deepEqual([passive?.version, passive?.label], ["v2", "COS_PASSIVE"]);
  });
}

Deno.test("the state partition may be an ext4 or ext2 without a journal", async () => {
  for (const options of [["-t", "ext4", "-O", "^has_journal"], ["-t", "ext2"]]) {
    await using machine = await labMachine({ stateMiB: 400 });
    const layout = join(machine.directory, "os");
    writeSmallOs(layout, { v1: {}, v2: {} });
    const { status, err } = await runProgram("mke2fs", ["-q", "-F", ...options, "-L", "COS_STATE", machine.state]);
    assert.equal(status, 0, err);
    await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
    await machine.must("upgrade", `oci:${layout}:v2`, "--no-verify");
    const { active, passive } = await machine.slots();
    assert.deepEqual([active?.version, passive?.version], ["v2", "v1"]);
  }
});
