/** What every operation that may write begins with: the state partition opened, locked, looked at, and repaired. */
import type { Events } from "../base/events.ts";
import { CosError, messageOf } from "../base/errors.ts";
import type { Labels } from "../base/labels.ts";
import {
  type BootCounter,
  COUNTER_FILE,
  HOOK_FILE,
  IMAGE_SCRIPT_FILE,
  KEPT_SCRIPT,
  readBootCounter,
  SCRIPT_FILE,
  writeTries,
} from "../boot/counter.ts";
import { GRUB_ENV_FILE } from "../boot/next-entry.ts";
import { OEM_ENV_FILE } from "../boot/oem-env.ts";
import { readTextFile } from "../machine/files.ts";
import { runningImage, usedImages } from "../machine/running.ts";
import { openStatePartition, type StatePartition } from "../machine/state-partition.ts";
import { executeSteps, type Executor } from "../state/execute.ts";
import { removeLeftovers } from "../state/plain-file.ts";
import { type LoadedRecord, loadRecord, NEW_RECORD } from "../state/record-file.ts";
import { NEW_TRUST } from "../state/trust-file.ts";
import { lockState } from "../state/lock.ts";
import { type Inspected, inspectImages, NOT_INSPECTED } from "./inspect-images.ts";
import { labelsOf, runningOf } from "./labels.ts";
import {
  hasImageDirectory,
  imagePath,
  readSlots,
  type SlotImage,
  type Slots,
  STATE_YAML_FILE,
} from "../state/slots.ts";
import { mendSuperblock } from "../state/superblock.ts";
import {
  IMAGE_NAMES,
  type ImageFacts,
  type ImageId,
  type ImageName,
  planRepair,
  type SlotState,
  type SwitchStep,
} from "../state/switch.ts";
import { makeWritable } from "../state/writable.ts";
import { checkpoint } from "../system/checkpoint.ts";
import { FreezeGuard } from "../system/freeze-guard.ts";
import { AT_FDCWD } from "../system/kernel.ts";
import type { LoopBacking } from "../system/loop.ts";
import type { System } from "../system/system.ts";

/** Files that `cos` replaces whole, so that a cut run can leave them under another name. */
const REPLACED_FILES = [
  COUNTER_FILE,
  HOOK_FILE,
  SCRIPT_FILE,
  KEPT_SCRIPT,
  IMAGE_SCRIPT_FILE,
  OEM_ENV_FILE,
  GRUB_ENV_FILE,
  STATE_YAML_FILE,
];

export interface StateOptions {
  /** `--state`: the partition's device or directory; found by itself otherwise. */
  state?: string;
}

export interface View {
  partition: StatePartition;
  slots: Slots;
  state: SlotState;
  record: LoadedRecord;
  counter: BootCounter;
  labels: Labels;
  inspected: Inspected;
}

/**
 * The partition as it is at the moment.
 * @param inspected what lies in the images, where that was asked (`inspectImages`).
 */
export function look(system: System, partition: StatePartition, inspected = NOT_INSPECTED): View {
  const { kernel } = system;
  const slots = readSlots(kernel, partition.fd), record = loadRecord(kernel, partition.fd);
  const counter = readBootCounter(kernel, partition);
  const running = runningId(system, slots);
  const images = new Map<ImageId, ImageFacts>();
  for (const [id, image] of slots.images) {
    const { label, checksummed, uuid } = image;
    const onTrial = uuid === undefined ? undefined : record.record.images[uuid]?.armed;
    images.set(id, {
      label,
      checksummed,
      broken: inspected.broken.has(id),
      onTrial,
      ranWell: ranWell(image, slots, record, running, counter.tries),
    });
  }
  const { counts, tries } = counter,
    labels = labelsOf(system, partition, runningOf(slots, running), record.record);
  const state: SlotState = {
    names: slots.names,
    images,
    running,
    counts,
    tries,
    matchesLabels: entriesMatchLabels(labels.state),
    slotLabels: labels,
  };
  return { partition, slots, state, record, counter, labels, inspected };
}

function runningId(system: System, slots: Slots): ImageId | undefined {
  const is = ({ id, devMajor, devMinor }: SlotImage, backing: LoopBacking) =>
    id === backing.ino && devMajor === backing.devMajor && devMinor === backing.devMinor;
  const backing = runningImage(system.kernel, system.pid);
  if (backing === undefined) {
    // The root may be an overlay over an image, or this may be a container: an image that backs a loop device is in use.
    const used = usedImages(system.kernel, system.pid);
    const { active, passive, spare, relink } = slots.names;
    return [active, passive, spare, relink].flatMap((id) => id ?? []).find((id) => {
      const image = slots.images.get(id);
      return image !== undefined && used.some((one) => is(image, one));
    });
  }
  for (const image of slots.images.values()) if (is(image, backing)) return image.id;
  // The root is a file of this partition without a name in it: an older tool replaced it, and only a reboot leads on.
  const [any] = slots.images.values();
  const here = any !== undefined && any.devMajor === backing.devMajor && any.devMinor === backing.devMinor;
  return here ? backing.ino : undefined;
}

/** The record knows; without it, the running image did, and from outside active did unless its tries are used up. */
function ranWell(image: SlotImage, slots: Slots, record: LoadedRecord, running: ImageId | undefined, tries: string) {
  const known = image.uuid === undefined ? undefined : record.record.images[image.uuid];
  if (known?.boot === "good") return true;
  if (known?.boot === "bad") return false;
  if (image.id === running) return true;
  return record.condition === "absent" && running === undefined && image.id === slots.names.active && tries !== "0";
}

/** Entries of the last generation but one say `root=LABEL=COS_ACTIVE`; later ones name the state partition, or are not ours. */
function entriesMatchLabels(state: string): boolean {
  return !(readTextFile("/proc/cmdline") ?? "").split(/\s+/).includes(`root=LABEL=${state}`);
}

/** Throws `REBOOT_FIRST` where the running image is no slot any more: nobody can say then what may be replaced. */
export function refuseNamelessRunning({ state, partition }: View): void {
  const { running, names } = state;
  if (running === undefined || running === names.active || running === names.passive) return;
  throw new CosError(
    "REBOOT_FIRST",
    `Cannot change ${partition.name}: the running system is neither active.img nor passive.img any more.`,
    {
      hint: "It was replaced since it was booted, most likely by an older tool: reboot, then run it again.",
    },
  );
}

/** A partition that this run may write: locked, writable, and repaired. */
export class Session implements AsyncDisposable {
  readonly #cleanup = new AsyncDisposableStack();
  #guard: FreezeGuard | undefined;
  #inspected = NOT_INSPECTED;
  /** Opening it had something to mend. */
  repaired = false;

  private constructor(readonly system: System, readonly events: Events, readonly partition: StatePartition) {}

  /**
   * Throws `NOT_ROOT`, `LOCKED`, `REBOOT_FIRST` and what `openStatePartition` throws.
   * @param fresh the partition may be empty (a first deployment).
   */
  static async open(system: System, { state }: StateOptions, events: Events, fresh = false): Promise<Session> {
    requireRoot(system);
    const partition = openStatePartition(system, state, true);
    const session = new Session(system, events, partition);
    session.#cleanup.use(partition);
    try {
      session.#cleanup.use(lockState(system.kernel, partition.fd, partition.name));
      if (!fresh) requireImages(system, partition);
      session.#cleanup.use(
        makeWritable(system.kernel, partition, (text) => events({ kind: "warning", text, late: true })),
      );
      await session.#repair();
    } catch (thrown) {
      await session[Symbol.asyncDispose]();
      throw thrown;
    }
    return session;
  }

  /** For writing to another partition under this session's lock; nothing is repaired there. The partition stays the caller's. */
  beside(partition: StatePartition): Session {
    return new Session(this.system, this.events, partition);
  }

  look(): View {
    return look(this.system, this.partition, this.#inspected);
  }

  /** From here on `look` knows which images could not boot, and which mark themselves good. */
  inspect(): void {
    this.#inspected = inspectImages(this.system, this.partition, this.look().slots);
  }

  /**
   * For what comes after a switch: that is done, whatever fails now, and to end with an error would make a controller do it
   * again. A failure is a warning, and `instead` the result.
   */
  afterwards<T>(what: string, instead: T, work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      const why = messageOf(thrown);
      this.events({ kind: "warning", text: `It is done, but ${what} failed: ${why}.`, late: true });
      return instead;
    }
  }

  /** The same for work that waits. */
  async behindTheSwitch(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      this.afterwards(what, undefined, () => {
        throw thrown;
      });
    }
  }

  async run(steps: readonly SwitchStep[]): Promise<void> {
    await executeSteps(this.executor, steps);
  }

  get executor(): Executor {
    const { kernel } = this.system, { fd } = this.partition;
    return {
      system: this.system,
      state: fd,
      checkpoint: () => this.checkpoint(),
      writeTries: (value) => writeTries(kernel, fd, value),
    };
  }

  async checkpoint(): Promise<void> {
    const { system: { kernel }, partition: { fd, type } } = this;
    await checkpoint(kernel, fd, type, () => this.#guarded());
  }

  /** A guard for freezing, started at the first need. The caller's own root is never frozen: this program would freeze with it. */
  async #guarded(): Promise<boolean> {
    const { system: { kernel, pid, self }, partition: { fd } } = this;
    const [here, root] = [kernel.fstat(fd), kernel.statat(AT_FDCWD, "/", true)];
    if (here.devMajor === root.devMajor && here.devMinor === root.devMinor) return false;
    this.#guard ??= await FreezeGuard.start(self, `/proc/${pid}/fd/${fd}`);
    return this.#guard !== undefined;
  }

  async #repair(): Promise<void> {
    await this.#mendSlots();
    const { system: { kernel }, partition: { fd } } = this;
    if (await removeLeftovers(kernel, fd, REPLACED_FILES, [NEW_RECORD, NEW_TRUST], () => this.checkpoint())) {
      this.repaired = true;
    }
  }

  async #mendSlots(): Promise<void> {
    const { slots, state } = this.look(), steps = planRepair(state), torn = tornImages(slots);
    if (steps.length === 0 && torn.length === 0) return;
    this.events({ kind: "phase", phase: "repair", text: "Mending what an earlier run left unfinished" });
    for (const name of torn) mendSuperblock(this.system.kernel, this.partition.fd, imagePath(name));
    if (torn.length > 0) await this.checkpoint();
    for (const step of steps) {
      try {
        await this.run([step]);
      } catch (thrown) {
        // A damaged image that takes no label must not keep the machine from being upgraded, which is what mends it.
        if (step.do !== "label") throw thrown;
        const why = messageOf(thrown);
        this.events({ kind: "warning", text: `Could not label cOS/${step.name}.img: ${why}.` });
      }
    }
    this.repaired = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
    await this.#guard?.[Symbol.asyncDispose]();
  }
}

/** A name of each image whose label and checksum a cut has torn apart. */
export function tornImages({ names, images }: Slots): ImageName[] {
  return IMAGE_NAMES.filter((name) => images.get(names[name] ?? 0)?.torn === true);
}

export function requireRoot({ kernel }: System): void {
  if (kernel.getuid() === 0) return;
  throw new CosError("NOT_ROOT", "Cannot look at or change the system's images: this needs root.", {
    hint: "Run it with sudo, or as root.",
  });
}

/** Throws `NOT_IMAGE_BASED` for a partition without a single image. */
export function requireImages({ kernel }: System, { fd, name }: StatePartition): void {
  const slots = hasImageDirectory(kernel, fd) ? readSlots(kernel, fd) : undefined;
  if (slots !== undefined && slots.images.size > 0) return;
  throw new CosError(
    "NOT_IMAGE_BASED",
    `Cannot find a system on ${name}: it has no cOS/active.img and no cOS/passive.img.`,
    {
      hint: "Put the first images there with: cos deploy IMAGE",
    },
  );
}
