/** Operations of the real program, each recorded on a disk of its own and cut at every flush and in between. */
import { existsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "./cleanup.ts";
import { CutChecker, type KnownImage } from "./cut-check.ts";
import { MOUNT_POINTS } from "./booted.ts";
import { attach, makeFilesystem, mount, type StateFilesystem } from "./disk.ts";
import { powerCuts } from "./power-cuts.ts";
import { Random } from "./random.ts";
import { ReplayedDisk } from "./replayed-disk.ts";
import { run } from "./run.ts";
import { writeSmallOs } from "./small-os.ts";
import { staticFile } from "./static-file.ts";
import { directory as directoryEntry } from "./tar-writer.ts";
import { type LogEntry, recordDisk } from "./write-log.ts";

export interface Operation {
  name: string;
  /** The disk before: a file. */
  base: string;
  log: LogEntry[];
  images: KnownImage[];
  fromNothing: boolean;
  /** GRUB counts tries. */
  counts?: boolean;
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
  const more = MOUNT_POINTS.map((name) => directoryEntry(name));
  writeSmallOs(layout, { v1: { more }, v2: { more }, v3: { more }, v4: { more } });
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

/**
 * Records `work` on a copy of `base`, mounted with those options, or by the work itself; the log ends before the unmount, and the disk is whole after it.
 */
export async function record(
  lab: CutLab,
  base: string,
  name: string,
  work: Work,
  options: string | null = "rw",
): Promise<[LogEntry[], string]> {
  await using recorded = await recordDisk(base, lab.directory, name);
  if (options === null) {
    await work(recorded.device, "");
    return [await recorded.finish(), join(lab.directory, `${name}.raw`)];
  }
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

export interface CutResult {
  states: number;
  failed: number;
  mixed: number;
  /** The partition's superblock was torn; mended by e2fsck before the rest was looked at. */
  torn: number;
  /** Tries must be spent before a system is reached. */
  spent: number;
  repairs: number;
  flushes: number;
  /** Each kind of failure, and where it is seen first. */
  failures: Map<string, string>;
  mixtures: Map<string, string>;
}

export async function cutOperation(
  lab: CutLab,
  { base, log, images, fromNothing, counts = false }: Operation,
  { seed, subsets }: { seed: number; subsets: number },
): Promise<CutResult> {
  const disk = new ReplayedDisk(base), random = new Random(seed);
  const result: CutResult = {
    states: 0,
    failed: 0,
    mixed: 0,
    torn: 0,
    spent: 0,
    repairs: 0,
    flushes: log.filter((entry) => entry.do === "flush").length,
    failures: new Map(),
    mixtures: new Map(),
  };
  const again = ["deploy", ...lab.install("v1")];
  await using checker = await CutChecker.open(
    { directory: lab.directory, cos: lab.cos, filesystem: lab.filesystem, images, fromNothing, counts, again },
    disk,
  );
  for (const { where, last } of powerCuts(disk, log, random, subsets)) {
    const { problems, mixed, torn, spent } = await checker.check(disk, last);
    result.states++;
    if (problems.length > 0) result.failed++;
    if (mixed !== undefined) result.mixed++;
    if (torn === true) result.torn++;
    if (spent === true) result.spent++;
    for (const problem of problems) if (!result.failures.has(problem)) result.failures.set(problem, where);
    if (mixed !== undefined && !result.mixtures.has(mixed)) result.mixtures.set(mixed, where);
  }
  result.repairs = checker.repairs;
  return result;
}
