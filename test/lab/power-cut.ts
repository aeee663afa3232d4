/** Operations of the real program, each recorded on a disk of its own and cut at every flush and in between. */
import { Buffer } from "node:buffer";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "./cleanup.ts";
import type { Control } from "./cut-controls.ts";
import { CutChecker, type KnownImage, knownImage } from "./cut-check.ts";
import { attach, makeFilesystem, mount, type StateFilesystem } from "./disk.ts";
import { GrubReader } from "./grub-reader.ts";
import { powerCuts } from "./power-cuts.ts";
import { Random } from "./random.ts";
import { ReplayedDisk } from "./replayed-disk.ts";
import { run } from "./run.ts";
import { writeSmallOs } from "./small-os.ts";
import { staticFile } from "./static-file.ts";
import { type LogEntry, recordDisk } from "./write-log.ts";

export interface Operation {
  name: string;
  /** The disk before: a file. */
  base: string;
  log: LogEntry[];
  images: KnownImage[];
  fromNothing: boolean;
}

export interface CutLab extends AsyncDisposable {
  /** A scratch directory. */
  directory: string;
  cos: string;
  filesystem: StateFilesystem;
  /** The words that name an image, for `cos`. */
  install(tag: string): string[];
}

const MIB = 1 << 20;
/** XFS is no smaller. */
const SIZES = { ext4: 96, xfs: 320, btrfs: 160 };

export async function cutLab(filesystem: StateFilesystem = "ext4"): Promise<CutLab> {
  await using made = new AsyncDisposableStack();
  // Each state is written anew, and flushed: in memory that costs nothing.
  const memory = existsSync("/dev/shm") ? "/dev/shm" : undefined;
  const { path: directory } = made.use(scratchDirectory("powercut", memory));
  const layout = join(directory, "os");
  writeSmallOs(layout, { v1: {}, v2: {}, v3: {} });
  const cos = await staticFile(), kept = made.move();
  return {
    directory,
    cos,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
    filesystem,
    install: (tag) => [`oci:${layout}:${tag}`, "--no-verify", "--size", "16"],
  };
}

/** What works on the mounted partition; it stays mounted, as on a machine that runs. */
export type Work = (device: string, mountPoint: string) => Promise<void>;

/** Records `work` on a copy of `base`; the log ends before the unmount, and the disk is whole after it. */
export async function record(
  lab: CutLab,
  base: string,
  name: string,
  work: Work,
  options = "rw",
): Promise<[LogEntry[], string]> {
  await using recorded = await recordDisk(base, lab.directory, name);
  await using mounted = await mount(recorded.device, options);
  await work(recorded.device, mounted.path);
  const position = recorded.position();
  await mounted.close();
  return [await recorded.finish(position), join(lab.directory, `${name}.raw`)];
}

export const program = (lab: CutLab, ...words: string[]): Work => async (device) => {
  await run(lab.cos, [...words, "--state", device]);
};

export async function emptyDisk(lab: CutLab): Promise<string> {
  const path = join(lab.directory, "empty.raw");
  writeFileSync(path, "");
  truncateSync(path, SIZES[lab.filesystem] * MIB);
  await using loop = await attach(path);
  await makeFilesystem(loop.device, "COS_STATE", lab.filesystem);
  return path;
}

/** The images of a disk that is not in use, by slot. */
async function imagesOf(lab: CutLab, disk: string, names: Partial<Record<"active" | "passive", string>>) {
  await using loop = await attach(disk);
  await using mounted = await mount(loop.device);
  const images: KnownImage[] = [], grub = new GrubReader(lab.directory);
  for (const [slot, name] of Object.entries(names)) {
    const copy = join(lab.directory, "image-to-know");
    copyFileSync(join(mounted.path, "cOS", `${slot}.img`), copy);
    images.push(await knownImage(grub, copy, name, true));
  }
  return images;
}

const asNew = (images: KnownImage[]) => images.map((image) => ({ ...image, good: false }));

/** All operations, each from where it starts. */
export async function recordOperations(lab: CutLab): Promise<Operation[]> {
  const operations: Operation[] = [], empty = await emptyDisk(lab);
  const [deploy, v1Disk] = await record(lab, empty, "deploy", program(lab, "deploy", ...lab.install("v1")));
  const v1 = await imagesOf(lab, v1Disk, { active: "v1" });
  operations.push({ name: "deploy", base: empty, log: deploy, images: asNew(v1), fromNothing: true });

  const [first, v2Disk] = await record(lab, v1Disk, "first-upgrade", program(lab, "upgrade", ...lab.install("v2")));
  const v2 = await imagesOf(lab, v2Disk, { active: "v2" });
  operations.push({
    name: "first upgrade",
    base: v1Disk,
    log: first,
    images: [...v1, ...asNew(v2)],
    fromNothing: false,
  });

  const [upgrade, v3Disk] = await record(lab, v2Disk, "upgrade", program(lab, "upgrade", ...lab.install("v3")));
  const v3 = await imagesOf(lab, v3Disk, { active: "v3" });
  const all = [...v1, ...v2, ...asNew(v3)];
  operations.push({ name: "upgrade", base: v2Disk, log: upgrade, images: all, fromNothing: false });

  const [rollback] = await record(lab, v3Disk, "rollback", program(lab, "rollback"));
  operations.push({ name: "rollback", base: v3Disk, log: rollback, images: [...v2, ...v3], fromNothing: false });
  return operations;
}

/** Blocks of zeros become holes, and none are marked as unwritten: GRUB does not know that mark. */
function copySparse(from: string, to: string): void {
  const bytes = readFileSync(from), fd = openSync(to, "w"), block = 4096, zeros = new Uint8Array(block);
  ftruncateSync(fd, bytes.length);
  for (let at = 0; at < bytes.length; at += block) {
    if (Buffer.compare(bytes.subarray(at, at + block), zeros) !== 0) writeSync(fd, bytes, at, block, at);
  }
  fsyncSync(fd);
  closeSync(fd);
}

/** The same checks, of other orders of steps: on a machine with a good v2, a v1 that may be bad, and v3 to come. */
export async function recordControls(lab: CutLab, controls: readonly Control[]): Promise<Operation[]> {
  const [v1Disk, v2Disk, v3Disk] = ["deploy", "first-upgrade", "upgrade"].map((name) =>
    join(lab.directory, `${name}.raw`)
  ) as [string, string, string];
  const v1 = await imagesOf(lab, v1Disk, { active: "v1" });
  const v2 = await imagesOf(lab, v2Disk, { active: "v2" }), v3 = await imagesOf(lab, v3Disk, { active: "v3" });
  const base = join(lab.directory, "control.raw");
  copyFileSync(v2Disk, base);
  {
    await using other = await attach(v3Disk);
    await using source = await mount(other.device);
    await using loop = await attach(base);
    await using target = await mount(loop.device, "rw");
    copySparse(join(source.path, "cOS/active.img"), join(target.path, "cOS/transition.img"));
  }
  const operations: Operation[] = [], images = [...asNew(v1), ...v2, ...asNew(v3)];
  for (const [i, { name, options, steps }] of controls.entries()) {
    const work: Work = async (_device, mountPoint) => await steps(join(mountPoint, "cOS"));
    const [log] = await record(lab, base, `control-${i}`, work, options);
    operations.push({ name, base, log, images, fromNothing: false });
  }
  return operations;
}

export interface CutResult {
  states: number;
  failed: number;
  mixed: number;
  /** The partition's superblock was torn; mended by e2fsck before the rest was looked at. */
  torn: number;
  repairs: number;
  flushes: number;
  /** Each kind of failure, and where it is seen first. */
  failures: Map<string, string>;
  mixtures: Map<string, string>;
}

export async function cutOperation(
  lab: CutLab,
  { base, log, images, fromNothing }: Operation,
  { seed, subsets }: { seed: number; subsets: number },
): Promise<CutResult> {
  const disk = new ReplayedDisk(base), random = new Random(seed);
  const result: CutResult = {
    states: 0,
    failed: 0,
    mixed: 0,
    torn: 0,
    repairs: 0,
    flushes: log.filter((entry) => entry.do === "flush").length,
    failures: new Map(),
    mixtures: new Map(),
  };
  const again = ["deploy", ...lab.install("v1")];
  await using checker = await CutChecker.open(
    { directory: lab.directory, cos: lab.cos, filesystem: lab.filesystem, images, fromNothing, again },
    disk,
  );
  for (const { where, last } of powerCuts(disk, log, random, subsets)) {
    const { problems, mixed, torn } = await checker.check(disk, last);
    result.states++;
    if (problems.length > 0) result.failed++;
    if (mixed !== undefined) result.mixed++;
    if (torn === true) result.torn++;
    for (const problem of problems) if (!result.failures.has(problem)) result.failures.set(problem, where);
    if (mixed !== undefined && !result.mixtures.has(mixed)) result.mixtures.set(mixed, where);
  }
  result.repairs = checker.repairs;
  return result;
}
