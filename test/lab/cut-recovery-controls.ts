/** Orders in which a recovery system could be replaced too, each of which the same checks must find wrong. */
import { closeSync, copyFileSync, linkSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { checkpointed, type Control } from "./cut-controls.ts";
import { copySparse, knownImage } from "./cut-disks.ts";
import { recordPartitions, recoveryOf, recoveryOperation } from "./cut-recovery.ts";
import { fileName } from "./cut-recorder.ts";
import { mount } from "./disk.ts";
import type { CutLab, Operation } from "./power-cut.ts";

const FILE = "recovery.img", NEW = "recovery-new.img", OLD = "recovery-old.img";

/** The new one lies beside the old one, complete. */
export const RECOVERY_CONTROLS: readonly Control[] = [
  {
    name: "our own order for the recovery system",
    right: true,
    steps: async (cOS) => {
      linkSync(join(cOS, FILE), join(cOS, OLD));
      await checkpointed(cOS);
      renameSync(join(cOS, NEW), join(cOS, FILE));
      await checkpointed(cOS);
      unlinkSync(join(cOS, OLD));
      await checkpointed(cOS);
    },
  },
  {
    name: "the recovery system is removed, then the new one takes its name",
    finds: /^Linux finds no recovery\.img/,
    steps: async (cOS) => {
      unlinkSync(join(cOS, FILE));
      await checkpointed(cOS);
      renameSync(join(cOS, NEW), join(cOS, FILE));
      await checkpointed(cOS);
    },
  },
  {
    name: "the recovery system is written over where it lies",
    on: ["ext4", "xfs"], // btrfs writes nothing where something lies
    finds: /^Linux finds a damaged recovery\.img/,
    steps: async (cOS) => {
      const fd = openSync(join(cOS, FILE), "r+");
      writeSync(fd, readFileSync(join(cOS, NEW)));
      closeSync(fd);
      await checkpointed(cOS);
      unlinkSync(join(cOS, NEW));
      await checkpointed(cOS);
    },
  },
];

/** The operations have left their disks in the lab: one with v1 as the recovery system, and one with v2. */
export async function recordRecoveryControls(lab: CutLab, controls: readonly Control[]): Promise<Operation[]> {
  const [first, second] = ["first recovery system", "upgrade --recovery of an ext image"].map((name) =>
    join(lab.directory, `${fileName(name)}.raw`)
  ) as [string, string];
  const base = join(lab.directory, "recovery-control.raw"), image = join(lab.directory, "control.img");
  const before = await recoveryOf(first, (partition) => knownImage(lab, partition, FILE, "v1"));
  const after = await recoveryOf(second, async (partition) => {
    copySparse(join(partition, "cOS", FILE), image);
    return await knownImage(lab, partition, FILE, "v2");
  });
  copyFileSync(first, base);
  await recoveryOf(base, (partition) => Promise.resolve(copySparse(image, join(partition, "cOS", NEW))), "rw");
  const operations: Operation[] = [];
  for (const [i, { name, steps }] of controls.entries()) {
    const log = await recordPartitions(lab, base, `recovery-control-${i}`, async ({ recovery }) => {
      await using mounted = await mount(recovery, "rw");
      await steps(join(mounted.path, "cOS"));
    });
    operations.push(recoveryOperation({ name, base, log, images: [] }, { file: FILE, before, after }));
  }
  return operations;
}
