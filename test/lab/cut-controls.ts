/**
 * Orders of steps that other tools use, or that one would think of first. Each must be found wrong by the same checks: a harness
 * that cannot fail proves nothing.
 */
import {
  closeSync,
  copyFileSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { checkpoint } from "../../lib/system/checkpoint.ts";
import { O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import { activeImage, asNew, copySparse, counting } from "./cut-disks.ts";
import type { Keeping } from "./cut-keeping.ts";
import { attach, mount, type StateFilesystem } from "./disk.ts";
import { uuidOf } from "./disk-views.ts";
import { type CutLab, type Operation, record, type Work } from "./power-cut.ts";

export interface Control {
  name: string;
  /** What the partition is mounted with. */
  options?: string;
  /** In a state with the good image `active.img`, another `passive.img` that is not known to be good, and `transition.img`. */
  steps(cOS: string): void | Promise<void>;
  /** GRUB counts tries, three are left, and entries match labels. */
  counts?: true;
  /** A failure that must be among those that are found. */
  finds?: RegExp;
  keeping?: Keeping;
  /** Where it makes sense; on all filesystems where nothing is said. */
  on?: readonly StateFilesystem[];
  /** Nothing may be found: our own order, by the same hand. */
  right?: true;
}

const AT_FDCWD = -100, RENAME_EXCHANGE = 2;

export const CONTROLS: readonly Control[] = [
  {
    name: "our own order",
    right: true,
    steps: (cOS) => ownOrder(cOS, () => checkpointed(cOS)),
  },
  {
    name: "our own order, with fsync in the place of checkpoints",
    finds: /and the operation has gone on meanwhile/,
    steps: (cOS) => ownOrder(cOS, () => synced(cOS)),
  },
  {
    name: "active is renamed away, then the new one takes its name",
    finds: /^GRUB boots active\.img, and Linux finds no whole image there/,
    steps: async (cOS) => {
      renameSync(join(cOS, "active.img"), join(cOS, "passive.img"));
      await checkpointed(cOS);
      renameSync(join(cOS, "transition.img"), join(cOS, "active.img"));
      await checkpointed(cOS);
    },
  },
  {
    name: "the new one and active exchange their names",
    finds: /^a new system, and no way back/,
    steps: async (cOS) => {
      exchange(join(cOS, "transition.img"), join(cOS, "active.img"));
      await checkpointed(cOS);
      renameSync(join(cOS, "transition.img"), join(cOS, "passive.img"));
      await checkpointed(cOS);
    },
  },
  {
    name: "the last name of an image is renamed over, on a partition mounted with discard",
    options: "rw,discard",
    on: ["ext4", "xfs"], // btrfs gives no block away before the superblock leads elsewhere
    finds: /^GRUB finds a damaged passive\.img/,
    steps: async (cOS) => {
      linkSync(join(cOS, "active.img"), join(cOS, "relink.img"));
      renameSync(join(cOS, "relink.img"), join(cOS, "passive.img"));
      synced(cOS);
      // The kernel trims in the background, once the change is in the journal.
      await new Promise((resolve) => setTimeout(resolve, 500));
      label(join(cOS, "active.img"), "COS_ACTIVE"); // a flush, and no checkpoint
      await checkpointed(cOS);
      renameSync(join(cOS, "transition.img"), join(cOS, "active.img"));
      await checkpointed(cOS);
    },
  },
  {
    name: "the kept image is labelled after the commit, where entries match labels and GRUB counts",
    counts: true,
    on: ["ext4", "xfs"],
    finds: /the way back does not fit its label/,
    steps: (cOS) => ownOrder(cOS, () => checkpointed(cOS)),
  },
  {
    name: "kept systems have their names beside those of the slots",
    on: ["xfs"], // it keeps a small directory in one sector, and a larger one in a block
    finds: /^GRUB finds nothing to boot/,
    steps: async (cOS) => {
      for (let i = 0; i < 4; i++) {
        linkSync(join(cOS, "passive.img"), join(cOS, `kept-00000000-0000-0000-0000-00000000000${i}.img`));
        await checkpointed(cOS);
      }
    },
  },
  {
    name: "a system is pinned, and nothing is flushed",
    keeping: { stays: ["v1", "v2"], pinned: [], after: ["pinned v1"] },
    finds: /^nothing is called pinned v1/,
    steps: (cOS) => {
      const passive = join(cOS, "passive.img");
      mkdirSync(join(cOS, "kept"));
      linkSync(passive, join(cOS, `kept/pinned-${uuidOf(readFileSync(passive))}.img`));
    },
  },
];

/** Whether the checks say of a control what they must. */
export function judgedRightly({ right, finds }: Control, failures: Iterable<string>): boolean {
  const found = [...failures];
  return right === true ? found.length === 0 : found.some((failure) => finds?.test(failure) ?? true);
}

/** On a machine with a good v2, a v1 that may be bad, and v3 to come; the operations have left their disks in the lab. */
export async function recordControls(lab: CutLab, controls: readonly Control[]): Promise<Operation[]> {
  const [v1Disk, v2Disk, v3Disk] = ["deploy", "first-upgrade", "upgrade"].map((name) =>
    join(lab.directory, `${name}.raw`)
  ) as [string, string, string];
  const v1 = await activeImage(lab, v1Disk, "v1"), v2 = await activeImage(lab, v2Disk, "v2");
  const v3 = await activeImage(lab, v3Disk, "v3");
  const base = join(lab.directory, "control.raw"), image = join(lab.directory, "control.img");
  copyFileSync(v2Disk, base);
  // One behind the other: no two filesystems of one UUID can be mounted at once.
  const withImages = async (disk: string, options: string, work: (images: string) => void) => {
    await using loop = await attach(disk);
    await using mounted = await mount(loop.device, options);
    work(join(mounted.path, "cOS"));
  };
  await withImages(v3Disk, "ro", (images) => copySparse(join(images, "active.img"), image));
  await withImages(base, "rw", (images) => copySparse(image, join(images, "transition.img")));
  const operations: Operation[] = [], images = [v2, ...asNew([v1, v3])];
  for (const [i, { name, options, counts = false, keeping, steps }] of controls.entries()) {
    const start = counts ? await counting(base, "3") : base;
    const work: Work = async (_device, mountPoint) => await steps(join(mountPoint, "cOS"));
    const [log] = await record(lab, start, `control-${i}`, work, options);
    const kind = { fromNothing: false, counts, armed: false, matchesLabels: true, writesParts: false, notes: false };
    operations.push({ name, base: start, log, images, keeping, ...kind });
  }
  return operations;
}

async function ownOrder(cOS: string, durable: () => void | Promise<void>): Promise<void> {
  const path = (name: string) => join(cOS, `${name}.img`);
  linkSync(path("passive"), path("spare"));
  await durable();
  linkSync(path("active"), path("relink"));
  renameSync(path("relink"), path("passive"));
  await durable();
  renameSync(path("transition"), path("active"));
  await durable();
  label(path("passive"), "COS_PASSIVE");
  await durable();
  unlinkSync(path("spare"));
  await durable();
}

function synced(directory: string): void {
  const fd = openSync(directory, "r");
  fsyncSync(fd);
  closeSync(fd);
}

export async function checkpointed(directory: string): Promise<void> {
  synced(directory);
  const kernel = new LinuxKernel(), fd = kernel.openat(AT_FDCWD, byteStringOf(directory), O_RDONLY | O_DIRECTORY);
  try {
    // The disk is one of the lab's own, so a freeze that stays does no harm.
    await checkpoint(kernel, fd, kernel.fstatfs(fd).type, () => Promise.resolve(true));
  } finally {
    kernel.close(fd);
  }
}

function label(path: string, text: string): void {
  const fd = openSync(path, "r+");
  writeSync(fd, new TextEncoder().encode(text.padEnd(16, "\0")), 0, 16, 1144);
  fsyncSync(fd);
  closeSync(fd);
}

function exchange(one: string, other: string): void {
  const symbols = { renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" } } as const;
  const libc = Deno.dlopen("libc.so.6", symbols);
  const bytes = (path: string) => new TextEncoder().encode(`${path}\0`);
  const result = libc.symbols.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE);
  libc.close();
  if (result !== 0) throw new Error(`Cannot exchange ${one} and ${other}`);
}
