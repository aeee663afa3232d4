/** The recovery system that lies on the recovery partition: what it is, by its content, and whether the machine runs from it. */
import { CosError } from "../base/errors.ts";
import type { Labels } from "../base/labels.ts";
import { type ImageFilesystem, type MountedImage, mountImage } from "../image/mount.ts";
import { openSibling, RECOVERY_FILES, type StatePartition } from "../machine/state-partition.ts";
import { readTextFile } from "../machine/files.ts";
import { usedImages } from "../machine/running.ts";
import { hasErrno, isRegular, type Kernel, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { partitionLabels } from "./labels.ts";

export type RecoveryFile = typeof RECOVERY_FILES[number];

export interface RecoverySystem {
  file: RecoveryFile;
  /** By its first bytes: older tools have put either into a file of either name. */
  filesystem: ImageFilesystem;
  ino: number;
}

const DIRECTORY = "cOS";
/** What the record of a slot says that was made from it. */
export const RECOVERY_SOURCE = "the recovery system";

/** Throws `NOT_IMAGE_BASED` where there is no recovery partition on the state partition's disk. */
export function openRecovery(system: System, state: StatePartition, write: boolean): StatePartition {
  const label = partitionLabels(system, state).recovery, recovery = openSibling(system.kernel, state, label, write);
  if (recovery !== undefined) return recovery;
  throw new CosError(
    "NOT_IMAGE_BASED",
    `Cannot find the recovery partition: no filesystem beside ${state.name} is labelled ${label}.`,
    {
      hint: "Machines without one are reset and recovered from a live CD.",
    },
  );
}

/** Undefined where the partition holds none. */
export function findRecovery(kernel: Kernel, partition: number): RecoverySystem | undefined {
  for (const file of RECOVERY_FILES) {
    let fd;
    try {
      if (!isRegular(kernel.statat(partition, recoveryPath(file)))) continue;
      fd = kernel.openat(partition, recoveryPath(file), O_RDONLY | O_NOFOLLOW);
    } catch (thrown) {
      if (hasErrno(thrown, "ENOENT", "ENOTDIR", "ELOOP")) continue;
      throw thrown;
    }
    try {
      const magic = new Uint8Array(4), read = kernel.pread(fd, magic, 0);
      const isSquashfs = read === 4 && new TextDecoder().decode(magic) === "hsqs";
      return { file, filesystem: isSquashfs ? "squashfs" : "ext4", ino: kernel.fstat(fd).ino };
    } finally {
      kernel.close(fd);
    }
  }
  return undefined;
}

export function recoveryPath(file: string): string {
  return `${DIRECTORY}/${file}`;
}

/** Some loop device reads it, or the kernel was started for it: it is in use. */
export function runsFromRecovery(
  { kernel, pid }: System,
  partition: number,
  found: RecoverySystem | undefined,
  labels: Pick<Labels, "recovery" | "system">,
): boolean {
  const { devMajor, devMinor } = kernel.fstat(partition);
  const used = usedImages(kernel, pid).some((one) =>
    one.ino === found?.ino && one.devMajor === devMajor && one.devMinor === devMinor
  );
  return used || isRecoveryBoot(labels);
}

/** As the older tools know it too. */
function isRecoveryBoot({ recovery, system }: Pick<Labels, "recovery" | "system">): boolean {
  const roots = [`root=live:LABEL=${recovery}`, `root=LABEL=${system}`];
  return (readTextFile("/proc/cmdline") ?? "").split(/\s+/)
    .some((word) => roots.includes(word) || /^(?:cos-img\/filename|rd\.live\.squashimg)=.*recovery/.test(word));
}

/** Mounts it read-only where nobody else sees it. */
export function mountRecovery(
  { kernel, pid }: System,
  partition: number,
  { file, filesystem }: RecoverySystem,
): MountedImage {
  const fd = kernel.openat(partition, recoveryPath(file), O_RDONLY | O_NOFOLLOW);
  try {
    return mountImage(kernel, pid, fd, { readOnly: true, name: "cos-recovery", filesystem });
  } finally {
    kernel.close(fd);
  }
}
