/** Operations of the real program, each recorded on a disk of its own and cut at every flush and in between. */
import { existsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "./cleanup.ts";
import type { KnownImage, MachineKind } from "./cut-boots.ts";
import { CutChecker } from "./cut-check.ts";
import type { Keeping } from "./cut-keeping.ts";
import type { RecoveryKind } from "./cut-recovery.ts";
import { RecoveryChecker } from "./cut-recovery-check.ts";
import { MOUNT_POINTS } from "./booted.ts";
import { markingUnit } from "./counting.ts";
import { attach, makeFilesystem, mount, type StateFilesystem } from "./disk.ts";
import { ROOM_LABEL, startable } from "./initramfs-room.ts";
import { powerCuts } from "./power-cuts.ts";
import { ReplayedDisk } from "./replayed-disk.ts";
import { run } from "./run.ts";
import { writeSmallOs } from "./small-os.ts";
import { staticFile } from "./static-file.ts";
import { directory as directoryEntry } from "./tar-writer.ts";
import { type LogEntry, recordDisk } from "./write-log.ts";

export interface Operation extends MachineKind {
  name: string;
  /** The disk before: a file. */
  base: string;
  log: LogEntry[];
  images: KnownImage[];
  /** It writes GRUB's parts of boot counting. */
  writesParts: boolean;
  /** It is the program's own, which notes an image in its record before it can boot. */
  notes: boolean;
  /** Of systems that have a name besides those of the slots; where nothing is said there are none. */
  keeping?: Keeping;
  /** The disk has a recovery partition beside the state partition, and this is what becomes of it. */
  recovery?: RecoveryKind;
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
  const more = [...MOUNT_POINTS.map((name) => directoryEntry(name)), ...startable()];
  const marking = [...more, ...markingUnit()];
  writeSmallOs(layout, { v1: { more }, v2: { more }, v3: { more }, v4: { more }, v5: { more: marking } });
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
  await labFilesystem(lab.filesystem, loop.device, ROOM_LABEL);
  return path;
}

/** grub-fstest copies images whole, holes too, and finds none on a btrfs with no_holes; GRUB itself reads no hole when it boots. */
export async function labFilesystem(filesystem: StateFilesystem, device: string, label: string): Promise<void> {
  await makeFilesystem(device, label, filesystem, filesystem === "btrfs" ? ["-O", "^no-holes"] : []);
}

export interface CutResult {
  states: number;
  failed: number;
  /** With the fragment and the initramfs module that `cos` ships, and with an older grub.cfg. */
  mixed: number;
  mixedOld: number;
  /** The partition's superblock was torn; mended before the rest was looked at. */
  torn: number;
  /** All copies of the superblock were: nothing more is asked. */
  lost: number;
  /** Tries must be spent before a system is reached. */
  spent: number;
  repairs: number;
  flushes: number;
  /** Each kind of failure, and where it is seen first. */
  failures: Map<string, string>;
  mixtures: Map<string, string>;
}

/** A state of a disk, by the disk's checksum: two operations may pass through the same. */
export type SeenStates = Map<string, { failed: boolean; mixed: boolean; mixedOld: boolean }>;

export interface CutSettings {
  seed: number;
  /** For each flush. */
  subsets: number;
}

export async function cutOperation(
  lab: CutLab,
  operation: Operation,
  { seed, subsets }: CutSettings,
  seen: SeenStates = new Map(),
): Promise<CutResult> {
  const { name, base, log } = operation, disk = new ReplayedDisk(base);
  const result: CutResult = {
    states: 0,
    failed: 0,
    mixed: 0,
    mixedOld: 0,
    torn: 0,
    lost: 0,
    spent: 0,
    repairs: 0,
    flushes: log.filter((entry) => entry.do === "flush").length,
    failures: new Map(),
    mixtures: new Map(),
  };
  await using checker = await checkerOf(lab, operation, disk);
  for (const cut of powerCuts(disk, log, `${seed} ${name}`, subsets)) {
    const { problems, mixed, mixedOld, torn, lost, spent } = await checker.check(disk, cut);
    const failed = problems.length > 0, before = seen.get(cut.sum);
    result.states++;
    if (failed) result.failed++;
    if (mixed !== undefined) result.mixed++;
    if (mixedOld !== undefined) result.mixedOld++;
    if (torn === true) result.torn++;
    if (lost === true) result.lost++;
    if (spent === true) result.spent++;
    seen.set(cut.sum, {
      failed: failed || before?.failed === true,
      mixed: mixed !== undefined || before?.mixed === true,
      mixedOld: mixedOld !== undefined || before?.mixedOld === true,
    });
    for (const problem of problems) note(result.failures, problem, cut.where);
    if (mixed !== undefined) note(result.mixtures, `${mixed}, with the fragment`, cut.where);
    if (mixedOld !== undefined) note(result.mixtures, `${mixedOld}, with an older grub.cfg`, cut.where);
  }
  result.repairs = checker.repair.tried;
  return result;
}

async function checkerOf(lab: CutLab, operation: Operation, disk: ReplayedDisk) {
  const { directory, cos, filesystem } = lab, { recovery } = operation, settings = { directory, cos, filesystem };
  if (recovery !== undefined) {
    const again = ["upgrade", "--recovery", ...lab.install(recovery.after.name)];
    return await RecoveryChecker.open({ ...settings, recovery, again }, disk);
  }
  return await CutChecker.open({ ...operation, ...settings, again: ["deploy", ...lab.install("v1")] }, disk);
}

function note(kinds: Map<string, string>, what: string, where: string): void {
  if (!kinds.has(what)) kinds.set(what, where);
}
