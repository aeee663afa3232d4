/**
 * `cos upgrade --recovery`: the recovery system replaced by an image, in the form that is there. The new one is complete and checked
 * before it takes the name; refused from the recovery system itself.
 */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { hasImageDirectory, IMAGE_DIRECTORY, imagePath } from "../state/slots.ts";
import { makeWritable } from "../state/writable.ts";
import { planRecoveryRepair, planRecoverySwitch, recoveryNames, type RecoveryStep } from "../state/recovery-switch.ts";
import { mountImage } from "../image/mount.ts";
import { O_NOFOLLOW, O_RDONLY, O_RDWR } from "../system/kernel.ts";
import { removeIfThere } from "../system/plain-files.ts";
import { mustRun } from "../system/process.ts";
import type { System } from "../system/system.ts";
import { originOf } from "./downgrade.ts";
import { Hooks } from "./hooks.ts";
import { checkSpace } from "./install-image.ts";
import { installWithHooks } from "./install-with-hooks.ts";
import { partitionLabels } from "./labels.ts";
import { proveAndRemember } from "./prove.ts";
import { newImageRecord, noteOperation } from "./record-keeping.ts";
import { findRecovery, openRecovery, recoveryPath, runsFromRecovery } from "./recovery-system.ts";
import { Session } from "./session.ts";
import { resolvedImage, resolveSource } from "./source.ts";
import { keepRecoveryInStateYaml } from "./state-yaml.ts";
import type { ImageSettings } from "./upgrade.ts";
import type { ImageRecord } from "../formats/record.ts";

export interface RecoveryUpgraded {
  partition: string;
  file: string;
  image: ImageRecord;
}

/** As the older tools make it; the branch filter is the machine's. */
const SQUASHFS = [
  "-noappend",
  "-no-progress",
  "-b",
  "1024k",
  "-comp",
  "xz",
  "-Xbcj",
  Deno.build.arch === "x86_64" ? "x86" : "arm",
];

export async function upgradeRecovery(
  system: System,
  settings: ImageSettings,
  events: Events,
  signal: AbortSignal,
): Promise<RecoveryUpgraded> {
  // The lock and the record are those of the state partition.
  await using session = await Session.open(system, settings, events);
  const { kernel } = system;
  using recovery = openRecovery(system, session.partition, true);
  const found = findRecovery(kernel, recovery.fd), labels = partitionLabels(system, session.partition);
  if (runsFromRecovery(system, recovery.fd, found, labels)) throw inUse(recovery.name);
  const source = await resolveSource(system, settings, signal),
    verification = await proveAndRemember(session, source, settings, signal);
  using _writable = makeWritable(kernel, recovery, (text) => events({ kind: "warning", text }));
  if (!hasImageDirectory(kernel, recovery.fd)) kernel.mkdirat(recovery.fd, IMAGE_DIRECTORY, 0o755);
  await using target = session.beside(recovery);
  const names = recoveryNames(found?.file ?? "recovery.img");
  await run(target, planRecoveryRepair(names, present(target)));
  removeIfThere(kernel, recovery.fd, imagePath("transition"));
  checkSpace(source, kernel.fstatfs(recovery.fd).available, recovery.name);
  const hooks = new Hooks(session, settings, "upgrade", source.name, signal);
  try {
    const installed = await installWithHooks(
      target,
      source,
      { ...settings, label: labels.system },
      hooks,
      signal,
    );
    if (found?.filesystem === "squashfs") await pack(target, names.transition, signal);
    else kernel.renameat(recovery.fd, imagePath("transition"), recovery.fd, recoveryPath(names.transition));
    signal.throwIfAborted();
    await target.checkpoint();
    events({ kind: "phase", phase: "switch", text: "Putting it in place" });
    await run(target, planRecoverySwitch(names, present(target)));
    const origin = originOf(resolvedImage(source), settings.image);
    const image: ImageRecord = { ...newImageRecord(source.name, installed, verification, system.now()), ...origin };
    await hooks.afterSwitch();
    const at = new Date(system.now()).toISOString();
    noteOperation(
      session,
      {
        kind: "upgrade of the recovery system",
        at,
        outcome: "done",
        image: source.name,
        ...hooks.notes,
      },
      (record) => ({ ...record, recovery: image }),
    );
    await keepRecoveryInStateYaml(session, image, found?.filesystem ?? "ext4");
    return { partition: recovery.name, file: names.target, image };
  } finally {
    removeIfThere(kernel, recovery.fd, imagePath("transition"));
    removeIfThere(kernel, recovery.fd, recoveryPath(names.transition));
  }
}

function present({ system: { kernel }, partition }: Session): Set<string> {
  const fd = kernel.openat(partition.fd, IMAGE_DIRECTORY, O_RDONLY);
  try {
    return new Set(kernel.readDirectory(fd).map(({ name }) => name));
  } finally {
    kernel.close(fd);
  }
}

async function run(target: Session, steps: readonly RecoveryStep[]): Promise<void> {
  const { system: { kernel }, partition: { fd } } = target;
  for (const step of steps) {
    if (step.do === "checkpoint") await target.checkpoint();
    else if (step.do === "remove") kernel.unlinkat(fd, recoveryPath(step.name));
    else if (step.do === "link") kernel.linkat(fd, recoveryPath(step.from), fd, recoveryPath(step.to));
    else kernel.renameat(fd, recoveryPath(step.from), fd, recoveryPath(step.to));
  }
}

/** The tree as a squashfs of its own, flushed. */
async function pack(target: Session, name: string, signal: AbortSignal): Promise<void> {
  const { system, partition, events } = target, { kernel, pid } = system;
  events({ kind: "phase", phase: "prepare", text: "Packing it as a squashfs" });
  const file = kernel.openat(partition.fd, imagePath("transition"), O_RDONLY | O_NOFOLLOW);
  try {
    using image = mountImage(kernel, pid, file, { readOnly: true, name: "cos-pack" });
    const into = `/proc/${pid}/fd/${partition.fd}/${recoveryPath(name)}`;
    await mustRun(
      system.programs,
      "mksquashfs",
      [`/proc/${pid}/fd/${image.fd}/.`, into, ...SQUASHFS],
      "pack the recovery system",
    );
  } finally {
    kernel.close(file);
  }
  signal.throwIfAborted();
  const packed = kernel.openat(partition.fd, recoveryPath(name), O_RDWR | O_NOFOLLOW);
  try {
    kernel.fsync(packed);
  } finally {
    kernel.close(packed);
  }
}

function inUse(partition: StatePartition["name"]): CosError {
  return new CosError("IN_RECOVERY", `Cannot upgrade the recovery system on ${partition}: the machine runs from it.`, {
    hint: "Start the active or the passive system, and run it there.",
  });
}
