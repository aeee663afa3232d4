/** `cos boot root`: which image becomes the root, and what an initramfs mends on the way. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { variables } from "../lab/counting.ts";
import { damage, mount } from "../lab/disk.ts";
import { ROOM_LABEL, type RoomMachine, roomMachine } from "../lab/initramfs-room.ts";
import { run } from "../lab/run.ts";
import * as t from "../lab/tar-writer.ts";

const ENTRY = "cos-img/filename=/cOS/active.img";
const modules = (release: string) =>
  ["usr/lib", "usr/lib/modules", `usr/lib/modules/${release}`].map((path) => t.directory(path));
const THIS_KERNEL = Deno.osRelease();

/** v2 is active, v1 passive. */
async function upgraded(
  more: Record<string, t.TarItem[]> = {},
  filesystem: "ext4" | "btrfs" = "ext4",
): Promise<RoomMachine> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await roomMachine({ v1: { more: more.v1 }, v2: { more: more.v2 } }, filesystem));
  await machine.must("deploy", machine.image("v1"), "--no-verify");
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  made.move();
  return machine;
}

async function change(machine: RoomMachine, work: (images: string, state: string) => Promise<void> | void) {
  await using state = await mount(machine.state, "rw");
  await work(join(state.path, "cOS"), state.path);
}

Deno.test("the entry's image is the root, read-only, and nothing is written", async () => {
  await using machine = await upgraded();
  const uuid = await machine.uuid("active");
  assert.deepEqual(await machine.mountRoot(ENTRY), {
    status: 0,
    said: `The root is /cOS/active.img on ${machine.state}, filesystem ${uuid}.`,
    version: "v2",
    mounts: "/sysroot ext4 ro,relatime\n/run/initramfs/cos-state ext4 ro,nosuid,nodev,noexec,relatime",
    marks: "active_mode",
    repaired: "Nothing to mend.",
    warnings: "",
  });
});

Deno.test("the image that the kernel came from is the root, whatever its name is by now", async () => {
  await using machine = await upgraded();
  const found = await machine.mountRoot(`${ENTRY} cos.image_uuid=${(await machine.uuid("passive")).toUpperCase()}`);
  assert.equal(found.version, "v1");
  assert.match(found.warnings, /The root is \/cOS\/passive\.img, not \/cOS\/active\.img\./);
  // One that no image has is no reason to stop.
  const other = await machine.mountRoot(`${ENTRY} cos.image_uuid=00000000-0000-0000-0000-000000000000`);
  assert.deepEqual([other.status, other.version, other.warnings], [0, "v2", ""]);
});

/** Copies images of the slots to the recovery partition, by the names that they have there. */
async function withRecovery(machine: RoomMachine, images: Record<string, "active" | "passive">): Promise<void> {
  await using state = await mount(machine.state);
  await using mounted = await mount(machine.disk.partitions.recovery, "rw");
  Deno.mkdirSync(join(mounted.path, "cOS"), { recursive: true });
  for (const [name, slot] of Object.entries(images)) {
    Deno.copyFileSync(join(state.path, `cOS/${slot}.img`), join(mounted.path, `cOS/${name}.img`));
  }
}

const RECOVERY_ENTRY = "cos-img/filename=/cOS/recovery.img";

Deno.test("a recovery system that a cut has left under its second name is the root where the kernel came from it", async () => {
  await using machine = await upgraded();
  const [old, fresh] = [await machine.uuid("passive"), await machine.uuid("active")];
  await withRecovery(machine, { "recovery-old": "passive", recovery: "active" });
  const kept = await machine.mountRoot(`${RECOVERY_ENTRY} cos.image_uuid=${fresh}`);
  assert.equal(kept.said, `The root is /cOS/recovery.img on ${machine.disk.partitions.recovery}, filesystem ${fresh}.`);
  const { version, said, warnings } = await machine.mountRoot(`${RECOVERY_ENTRY} cos.image_uuid=${old}`);
  assert.equal(version, "v1");
  assert.equal(said, `The root is /cOS/recovery-old.img on ${machine.disk.partitions.recovery}, filesystem ${old}.`);
  assert.match(warnings, /The root is \/cOS\/recovery-old\.img, not \/cOS\/recovery\.img\./);
});

Deno.test("a slot's image and its copy on the recovery partition have one UUID: each entry has its own as the root", async () => {
  await using machine = await upgraded();
  const uuid = await machine.uuid("active"), { recovery } = machine.disk.partitions;
  await withRecovery(machine, { recovery: "active" });
  const said = async (entry: string) => (await machine.mountRoot(`${entry} cos.image_uuid=${uuid}`)).said;
  assert.equal(await said(RECOVERY_ENTRY), `The root is /cOS/recovery.img on ${recovery}, filesystem ${uuid}.`);
  assert.equal(await said(ENTRY), `The root is /cOS/active.img on ${machine.state}, filesystem ${uuid}.`);
});

Deno.test("without a UUID the image with this kernel's modules is the root", async () => {
  await using machine = await upgraded({ v1: modules(THIS_KERNEL), v2: modules("0.0.1-other") });
  const found = await machine.mountRoot(ENTRY);
  assert.deepEqual([found.status, found.version], [0, "v1"]);
  assert.match(found.warnings, /The root is \/cOS\/passive\.img, not \/cOS\/active\.img\./);
});

Deno.test("a broken active image: the passive one is the root, and GRUB rests on it from now on", async () => {
  await using machine = await upgraded();
  await machine.must("boot", "install");
  await change(machine, (images) => damage(`${images}/active.img`));
  const found = await machine.mountRoot(`${ENTRY} cos.tries_left=2`);
  assert.deepEqual([found.status, found.version], [0, "v1"]);
  assert.match(found.warnings, /\/cOS\/active\.img does not boot: /);
  // Nothing on this machine is a watchdog that could be stopped again.
  assert.match(found.warnings, /No watchdog can be started: a boot that hangs will not end by itself\./);
  assert.deepEqual(await variables(machine.state), { cos_tries: "0" });
});

Deno.test("a broken active image and another kernel in the passive one: GRUB has to start that kernel", async () => {
  await using machine = await upgraded({ v1: modules("0.0.1-other"), v2: modules(THIS_KERNEL) });
  await machine.must("boot", "install");
  await change(machine, (images) => damage(`${images}/active.img`));
  const found = await machine.mountRoot(ENTRY);
  assert.deepEqual([found.status, found.version], [9, undefined]);
  assert.match(found.warnings, /\/cOS\/active\.img does not boot; GRUB starts the other system from now on\./);
  assert.equal((await variables(machine.state)).cos_tries, "0");
  // Where GRUB cannot be told, a root with another kernel's modules is better than none.
  await machine.must("boot", "install", "--remove");
  const limping = await machine.mountRoot(ENTRY);
  assert.deepEqual([limping.status, limping.version], [0, "v1"]);
  assert.match(limping.warnings, /\/cOS\/passive\.img has no modules for this kernel/);
});

Deno.test("no image that boots, no image at all, another kind of root: each is named", async () => {
  await using machine = await upgraded();
  await change(machine, async (images) => {
    await damage(`${images}/active.img`);
    await damage(`${images}/passive.img`);
  });
  const none = await machine.mountRoot(ENTRY);
  assert.deepEqual([none.status, none.said], [23, ""]);
  assert.match(none.warnings, /No image beside \/cOS\/active\.img on \S+ can be mounted and started\./);
  const missing = await machine.mountRoot("cos-img/filename=/cOS/elsewhere.img");
  assert.deepEqual([missing.status, missing.said], [4, ""]);
  assert.match(
    missing.warnings,
    new RegExp(`no filesystem labelled ${ROOM_LABEL} or COS_STATE or COS_RECOVERY holds it`),
  );
  const live = await machine.mountRoot("root=live:LABEL=COS_LIVE");
  assert.deepEqual([live.status, live.said], [4, ""]);
  assert.match(live.warnings, /names no image \(cos-img\/filename=\) as the root/);
});

Deno.test("what a cut has left is mended before the system starts", async () => {
  await using machine = await upgraded();
  await change(machine, (images) => {
    Deno.writeTextFileSync(`${images}/transition.img`, "half");
    Deno.linkSync(`${images}/passive.img`, `${images}/spare.img`);
  });
  const found = await machine.mountRoot(ENTRY);
  assert.deepEqual([found.status, found.version, found.repaired], [0, "v2", "Nothing to mend."]);
  await change(machine, (images) => {
    assert.deepEqual([...Deno.readDirSync(images)].map(({ name }) => name).sort(), [
      "active.img",
      "passive.img",
      "state.json",
    ]);
  });
});

Deno.test("the kernel's image is the root though a cut has left it its third name alone, and keeps it while it runs", async () => {
  await using machine = await upgraded();
  const uuid = await machine.uuid("active");
  const slots = async () => {
    const found = Object.entries(await machine.slots()).map(([name, { version }]) => `${name} ${version}`);
    return found.sort().join(", ");
  };
  // An upgrade that keeps the passive system: its new image has the name active by now.
  await change(machine, async (images) => {
    Deno.linkSync(`${images}/active.img`, `${images}/spare.img`);
    Deno.copyFileSync(`${images}/passive.img`, `${images}/relink.img`);
    await run("tune2fs", ["-U", "random", "-L", "COS_ACTIVE", `${images}/relink.img`]);
    Deno.renameSync(`${images}/relink.img`, `${images}/active.img`);
  });
  const upgrade = await machine.mountRoot(`${ENTRY} cos.image_uuid=${uuid}`);
  assert.deepEqual([upgrade.status, upgrade.version, upgrade.repaired], [0, "v2", "Nothing to mend."]);
  assert.match(upgrade.warnings, /The root is \/cOS\/spare\.img, not \/cOS\/active\.img\./);
  assert.equal(await slots(), "active v1, passive v1, spare v2");
  // A rollback to the running passive system: both names are its image by now.
  await change(machine, (images) => {
    Deno.linkSync(`${images}/passive.img`, `${images}/relink.img`);
    Deno.renameSync(`${images}/relink.img`, `${images}/active.img`);
  });
  const rollback = await machine.mountRoot(`${ENTRY} cos.image_uuid=${uuid}`);
  assert.deepEqual([rollback.status, rollback.version, rollback.repaired], [0, "v2", "Nothing to mend."]);
  assert.equal(await slots(), "active v1, passive v2");
});

Deno.test("a state partition whose superblock is torn is mended, checked and mounted", async () => {
  await using machine = await upgraded();
  // The last four bytes of the superblock are its checksum.
  await run("dd", ["if=/dev/zero", `of=${machine.state}`, "bs=1", "seek=2044", "count=4", "conv=notrunc"]);
  const found = await machine.mountRoot(ENTRY);
  assert.deepEqual([found.status, found.version], [0, "v2"]);
  const [failed, mended, checked, ...more] = found.warnings.trim().split("\n");
  assert.match(failed ?? "", /does not mount: fsconfig\(\S+\) failed: EBADMSG/);
  assert.match(mended ?? "", /had a torn superblock, which is mended/);
  assert.match(checked ?? "", new RegExp(`was checked by e2fsck, which ended with 0: ${ROOM_LABEL}: `));
  assert.deepEqual(more, []);
  await run("e2fsck", ["-fn", machine.state]);
});

Deno.test("a btrfs whose superblock is torn, wherever in it, is mended from its copy and mounted", async () => {
  await using machine = await upgraded({}, "btrfs");
  // Of its eight sectors: the first holds the checksum and the label, the third what an update changes as well.
  for (const sector of [0, 2, 7]) {
    const at = 64 * 1024 + sector * 512 + 510;
    await run("sh", ["-c", `printf '\\252\\125' | dd of=${machine.state} bs=1 seek=${at} conv=notrunc`]);
    const found = await machine.mountRoot(ENTRY);
    assert.deepEqual([found.status, found.version], [0, "v2"]);
    const [failed, mended, ...more] = found.warnings.trim().split("\n");
    assert.match(failed ?? "", /does not mount: fsconfig\(\S+\) failed: EINVAL/);
    assert.match(mended ?? "", /had a torn superblock, which is mended/);
    assert.deepEqual(more, []);
    await run("btrfs", ["check", "--readonly", machine.state]);
  }
});

Deno.test("an image of an older tool whose label and checksum are torn apart is mended, and is the root", async () => {
  await using machine = await upgraded();
  await change(machine, async (images) => {
    await run("tune2fs", ["-O", "metadata_csum", `${images}/active.img`]);
    // The label alone, as the first of two sectors would have it.
    await run("dd", ["if=/dev/zero", `of=${images}/active.img`, "bs=1", "seek=1150", "count=4", "conv=notrunc"]);
  });
  const found = await machine.mountRoot(ENTRY);
  assert.deepEqual([found.status, found.version, found.repaired], [0, "v2", "Nothing to mend."]);
  assert.equal((await machine.slots()).active?.label, "COS_ACTIVE");
});
