/** What is cut: operations of the real program, each recorded from where it starts. */
import type { KnownImage } from "./cut-boots.ts";
import { activeImage, asNew, counting, midway } from "./cut-disks.ts";
import { recordKept } from "./cut-kept.ts";
import { recordRecovery } from "./cut-recovery.ts";
import { add, addMaking, type Recorder, running } from "./cut-recorder.ts";
import type { Slot } from "./disk-views.ts";
import { type CutLab, emptyDisk, type Operation, program } from "./power-cut.ts";

/** Parts of it all, each of which can be recorded alone. */
export const GROUPS = ["slots", "kept", "recovery"] as const;
export type Group = typeof GROUPS[number];

/** A machine that holds v3, and v2 as the fallback. */
interface Machine {
  v2: KnownImage;
  v3: KnownImage;
  disk: string;
}

/** All operations; the short form leaves out those that write what another one writes too. */
export async function recordOperations(
  lab: CutLab,
  short = false,
  groups: readonly Group[] = GROUPS,
): Promise<Operation[]> {
  const recorder: Recorder = { lab, operations: [] }, { operations } = recorder;
  const upgradeTo = (tag: string) => program(lab, "upgrade", ...lab.install(tag));
  const deploy = { base: await emptyDisk(lab), on: [], work: program(lab, "deploy", ...lab.install("v1")) };
  const v1 = await addMaking(recorder, "deploy", "v1", deploy);
  const first = { base: v1.disk, on: [v1.image], work: upgradeTo("v2") };
  const { disk: v2Disk, image: v2 } = await addMaking(recorder, "first upgrade", "v2", first);
  const second = { base: v2Disk, on: [v1.image, v2], work: upgradeTo("v3") };
  const { disk, image: v3 } = await addMaking(recorder, "upgrade", "v3", second);
  const machine = { v2, v3, disk };
  if (groups.includes("slots")) await recordSlots(recorder, machine, v1.image, short);
  // The others only begin with their disks.
  else operations.splice(0);
  if (groups.includes("kept")) await recordKept(recorder, v1, short);
  if (groups.includes("recovery")) await recordRecovery(recorder, disk, [v2, v3], short);
  return operations;
}

/** What the two slots see. The deployment and the first upgrades are there already. */
async function recordSlots(recorder: Recorder, machine: Machine, v1: KnownImage, short: boolean): Promise<void> {
  const { lab, operations } = recorder, { v2, v3, disk } = machine, upgrade = operations.at(-1);
  await add(recorder, "rollback", { base: disk, on: [v2, v3], work: program(lab, "rollback") });
  if (upgrade !== undefined) await recordRepairs(recorder, upgrade, [v1, v2, ...asNew([v3])]);
  // GRUB cannot count on btrfs.
  if (lab.filesystem !== "btrfs") await recordCounted(recorder, machine, short);
  // The armed upgrade takes the steps of the others, and more.
  if (short) operations.splice(1, 2);
  else {
    await recordRunning(recorder, machine);
    await recordReset(recorder, machine);
  }
}

/** Repairs of an upgrade that was cut before and after its commit, and of such a repair that was cut in its turn. */
async function recordRepairs(recorder: Recorder, upgrade: Operation, on: KnownImage[]): Promise<void> {
  const { lab, operations } = recorder, work = program(lab, "repair");
  const begun = (names: string[]) => names.includes("spare.img") && names.includes("transition.img");
  const done = (names: string[]) => names.includes("spare.img") && !names.includes("transition.img");
  const before = await midway(lab, upgrade, "cut-before.raw", begun);
  await add(recorder, "repair of an upgrade cut before its commit", { base: before, on, work });
  const [repair] = operations.slice(-1);
  const after = await midway(lab, upgrade, "cut-after.raw", done);
  await add(recorder, "repair of an upgrade cut after its commit", { base: after, on, work });
  if (repair === undefined) return;
  // It has removed what was never used, and not yet given the old fallback its name back.
  const again = await midway(lab, repair, "cut-repair.raw", done);
  await add(recorder, "repair of a repair that was cut", { base: again, on, work });
}

/** What GRUB tells a kernel by an entry that knows the state partition's label, and no image's. */
const NEWER_ENTRY = "root=LABEL=COS_STATE cos-img/filename=/cOS/active.img panic=5";

/** On machines that run from one of their images. The other system may be bad: it is nothing to fall back to. */
async function recordRunning(recorder: Recorder, { v2, v3, disk: base }: Machine): Promise<void> {
  const { lab } = recorder, mounts = true as const, both = [v2, v3], fellBack = [v2, ...asNew([v3])];
  const upgradeFrom = (slot: Slot, tag: string) => running(lab, slot, ["upgrade", ...lab.install(tag)]);
  const upgrade = { base, on: both, work: upgradeFrom("active", "v4"), mounts };
  const { disk: v4Disk, image: v4 } = await addMaking(recorder, "upgrade run from active", "v4", upgrade);
  await addMaking(recorder, "upgrade repeated without a reboot", "v1", {
    ...{ base: v4Disk, on: [v3, ...asNew([v4])], work: upgradeFrom("passive", "v1"), mounts },
  });
  const fallback = { base, on: fellBack, work: upgradeFrom("passive", "v4"), mounts };
  await addMaking(recorder, "upgrade run from passive", "v4", fallback);
  for (const [slot, on] of [["active", both], ["passive", fellBack]] as const) {
    const name = `rollback run from ${slot}`;
    await add(recorder, name, { base, on, work: running(lab, slot, ["rollback"]), mounts });
    const work = running(lab, slot, ["rollback"], NEWER_ENTRY);
    await add(recorder, `${name}, entries without labels`, { base, on, work, mounts, matchesLabels: false });
  }
  const good = running(lab, "active", ["boot", "good"]);
  await add(recorder, "boot good where nothing counts: the record alone", { base, on: both, work: good, mounts });
}

/** From outside. What a machine is reset to is taken for good: nothing of what was there before is kept. */
async function recordReset(recorder: Recorder, { v2, v3, disk }: Machine): Promise<void> {
  const { lab, operations } = recorder;
  const after = await add(recorder, "reset", {
    base: disk,
    on: [v2, v3],
    work: program(lab, "reset", ...lab.install("v4")),
  });
  operations.at(-1)?.images.push(await activeImage(lab, after, "v4"));
}

/** Where GRUB counts. v5 marks itself good, so an upgrade to it is armed. */
async function recordCounted(recorder: Recorder, { v2, v3, disk }: Machine, short: boolean): Promise<void> {
  const { lab } = recorder, mounts = true as const, counts = true, both = [v2, v3], fellBack = [v2, ...asNew([v3])];
  const idle = await counting(disk, ""), resting = await counting(disk, "0");
  const rollback = { base: idle, on: both, work: program(lab, "rollback"), counts };
  await add(recorder, "rollback where tries are counted", rollback);
  const toV5 = ["upgrade", ...lab.install("v5")], work = running(lab, "active", toV5);
  const armed = { base: idle, on: both, work, mounts, counts, armed: true };
  const { disk: v5Disk, image: v5 } = await addMaking(recorder, "armed upgrade", "v5", armed);
  const good = { base: v5Disk, on: [v3, v5], work: running(lab, "active", ["boot", "good"]), mounts, counts };
  await add(recorder, "boot good after an armed upgrade", good);
  if (short) return;
  await add(recorder, "boot retry", {
    ...{
      base: await counting(v5Disk, "0"),
      on: [v3, ...asNew([v5])],
      work: running(lab, "passive", ["boot", "retry"]),
    },
    ...{ mounts, counts, armed: true },
  });
  const parts = program(lab, "boot", "install");
  await add(recorder, "boot install", { base: disk, on: both, work: parts, writesParts: true });
  const unarmed = { base: idle, on: both, work: program(lab, "upgrade", ...lab.install("v4")), counts };
  await addMaking(recorder, "upgrade where tries are counted", "v4", unarmed);
  const back = { base: resting, on: fellBack, work: running(lab, "passive", ["rollback"]), mounts, counts };
  await add(recorder, "rollback of a machine that rests on its fallback", back);
  const again = running(lab, "passive", toV5);
  const bad = { base: resting, on: fellBack, work: again, mounts, counts, armed: true };
  await addMaking(recorder, "upgrade of a machine that rests on its fallback", "v5", bad);
}
