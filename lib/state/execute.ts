/** Carries out the steps of the switch, one by one, each durable where the list asks for it. */
import {
  LABEL_LENGTH,
  LABEL_OFFSET,
  parseExtSuperblock,
  SUPERBLOCK_OFFSET,
  SUPERBLOCK_SIZE,
} from "../formats/ext-superblock.ts";
import { writeBytes } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { type Kernel, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";
import { mustRun } from "../system/process.ts";
import type { System } from "../system/system.ts";
import { imagePath } from "./slots.ts";
import type { ImageName, SwitchStep } from "./switch.ts";

export interface Executor {
  system: Pick<System, "kernel" | "programs" | "pid">;
  /** The top directory of the state partition. */
  state: number;
  checkpoint(): void | Promise<void>;
  /** `cos_tries` gets this value. */
  writeTries(value: string): void;
}

/** Stops at the first error and throws it; what was done by then stays done. */
export async function executeSteps(executor: Executor, steps: readonly SwitchStep[]): Promise<void> {
  const { system: { kernel }, state } = executor;
  for (const step of steps) {
    switch (step.do) {
      case "link":
        kernel.linkat(state, imagePath(step.from), state, imagePath(step.to));
        break;
      case "rename":
        kernel.renameat(state, imagePath(step.from), state, imagePath(step.to));
        break;
      case "remove":
        kernel.unlinkat(state, imagePath(step.name));
        break;
      case "label":
        await writeLabel(executor, step.name, step.label);
        break;
      case "tries":
        executor.writeTries(step.value);
        break;
      case "checkpoint":
        await executor.checkpoint();
        break;
    }
  }
}

async function writeLabel({ system, state, checkpoint }: Executor, name: ImageName, label: string): Promise<void> {
  const { kernel } = system;
  const fd = kernel.openat(state, imagePath(name), O_RDWR | O_NOFOLLOW);
  try {
    const bytes = new Uint8Array(SUPERBLOCK_SIZE);
    const superblock = parseExtSuperblock(bytes.subarray(0, kernel.pread(fd, bytes, SUPERBLOCK_OFFSET)));
    if (superblock === undefined) {
      throw new CosError("IMAGE_DAMAGED", `Cannot label ${imagePath(name)}: it holds no ext filesystem.`, {
        hint: "Replace that image with cos upgrade.",
      });
    }
    if (superblock.hasChecksum) {
      // Label and checksum lie in two sectors: the tool that knows the checksum has to write both.
      await mustRun(
        system.programs,
        "tune2fs",
        ["-L", label, `/proc/${system.pid}/fd/${fd}`],
        `label ${imagePath(name)}`,
      );
      kernel.fsync(fd);
    } else {
      // One write within one sector: a cut leaves the old label or the new one.
      kernel.pwrite(fd, paddedLabel(label), LABEL_OFFSET);
      kernel.fdatasync(fd);
      verifyLabel(kernel, fd, name, label);
    }
  } finally {
    kernel.close(fd);
  }
  // Where a filesystem writes elsewhere than in place, a boot loader sees the old label until then.
  await checkpoint();
}

/** An image that is mounted for writing has a superblock in memory that would overwrite the label later. */
function verifyLabel(kernel: Kernel, fd: number, name: ImageName, label: string): void {
  const bytes = new Uint8Array(SUPERBLOCK_SIZE);
  kernel.pread(fd, bytes, SUPERBLOCK_OFFSET);
  if (parseExtSuperblock(bytes)?.label === label) return;
  throw new CosError("SYSTEM_CALL", `Cannot label ${imagePath(name)}: the label that was written is not there.`, {
    hint: "Is the image mounted read-write? Boot without rd.cos.debugrw and run it again.",
  });
}

function paddedLabel(label: string): Uint8Array {
  const bytes = new Uint8Array(LABEL_LENGTH);
  writeBytes(label.slice(0, LABEL_LENGTH), bytes);
  return bytes;
}
