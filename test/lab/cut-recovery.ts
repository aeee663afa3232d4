/**
 * Operations on the recovery system: on a disk of two partitions, whose writes are recorded as those of one disk. What the state
 * partition has of them is an operation of its own, asked what every other is.
 */
import { copyFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { USUAL_LABELS } from "../../lib/base/labels.ts";
import type { KnownImage } from "./cut-boots.ts";
import { knownImage, midway } from "./cut-disks.ts";
import { fileName, type Recorder, running } from "./cut-recorder.ts";
import { attach, mount, mountImage, openPartitions } from "./disk.ts";
import { type CutLab, labFilesystem, type Operation } from "./power-cut.ts";
import { run } from "./run.ts";
import { type LogEntry, recordDisk } from "./write-log.ts";

/** What a recovery system is asked for at every cut. */
export interface RecoveryKind {
  /** In `cOS` of the recovery partition. */
  file: string;
  before?: KnownImage;
  after: KnownImage;
  /** Of each of the two partitions, in bytes. */
  size: number;
}

/** In their order on the disk. */
export const PARTITIONS = ["state", "recovery"] as const;

const MIB = 1 << 20;

/** Where on the disk a partition begins, in bytes. */
export const beginningOf = (partition: typeof PARTITIONS[number], size: number) =>
  MIB + (partition === "state" ? 0 : size);

interface Start {
  base: string;
  file: string;
  before?: KnownImage;
  makes: string;
}

/**
 * @param state a partition with a system in each slot, which is copied. @param on those systems.
 * The short form is one replacement of an ext image, without the state partition's part.
 */
export async function recordRecovery(
  recorder: Recorder,
  state: string,
  on: readonly KnownImage[],
  short: boolean,
): Promise<void> {
  const { lab, operations } = recorder, base = await twoPartitions(lab, state), file = "recovery.img";
  const add = (name: string, start: Start) => addRecovery(recorder, name, start, on);
  const { disk, image: before } = await add("first recovery system", { base, file, makes: "v1" });
  if (short) operations.splice(-2);
  await add("upgrade --recovery of an ext image", { base: disk, file, before, makes: "v2" });
  if (short) {
    operations.pop();
    return;
  }
  const [upgrade] = operations.slice(-2), begun = (names: string[]) => names.filter((name) => /-(new|old)/.test(name));
  if (upgrade !== undefined) {
    const cut = await midway(lab, upgrade, "cut-recovery.raw", (names) => begun(names).length === 2, openRecovery);
    await add("upgrade --recovery behind one that was cut", { base: cut, file, before, makes: "v3" });
  }
  await add("upgrade --recovery of a squashfs", { ...await packed(lab, disk, before.name), makes: "v2" });
}

async function addRecovery(
  { lab, operations }: Recorder,
  name: string,
  { base, file, before, makes }: Start,
  on: readonly KnownImage[],
): Promise<{ disk: string; image: KnownImage }> {
  const work = running(lab, "active", ["upgrade", "--recovery", ...lab.install(makes)]), place = fileName(name);
  const log = await recordPartitions(lab, base, place, ({ state }) => work(state, ""));
  const disk = join(lab.directory, `${place}.raw`);
  const image = await recoveryOf(disk, (partition) => knownImage(lab, partition, file, makes));
  const whole = recoveryOperation({ name, base, log, images: [...on] }, { file, before, after: image });
  const size = sizeOn(base), start = beginningOf("state", size), state = join(lab.directory, `${place}.state`);
  writeFileSync(state, readFileSync(base).subarray(start, start + size));
  const { recovery: _, ...part } = { ...whole, base: state, log: partOf(log, start, size) };
  operations.push(whole, { ...part, name: `${name}: the state partition` });
  return { disk, image };
}

export function recoveryOperation(
  operation: Pick<Operation, "name" | "base" | "log" | "images">,
  recovery: Omit<RecoveryKind, "size">,
): Operation {
  return {
    ...{ fromNothing: false, counts: false, armed: false, matchesLabels: true, writesParts: false, notes: true },
    ...{ ...operation, recovery: { ...recovery, size: sizeOn(operation.base) } },
  };
}

const sizeOn = (disk: string) => (statSync(disk).size - 2 * MIB) / 2;

/** Records `work` on a copy of a disk of two partitions, which it mounts by itself. */
export async function recordPartitions(
  lab: CutLab,
  base: string,
  place: string,
  work: (partitions: Record<typeof PARTITIONS[number], string>) => Promise<void>,
): Promise<LogEntry[]> {
  await using recorded = await recordDisk(base, lab.directory, place, ["--partscan"]);
  {
    await using opened = await openPartitions(recorded.device, PARTITIONS);
    await work(opened.partitions);
  }
  return await recorded.finish();
}

/** What reaches one partition; what flushes the disk flushes that too. */
function partOf(log: readonly LogEntry[], start: number, size: number): LogEntry[] {
  return log.flatMap((entry): LogEntry[] => {
    if (entry.do === "flush") return [entry];
    const offset = entry.offset - start;
    return offset < 0 || offset >= size ? [] : [{ ...entry, offset }];
  });
}

/** A disk with that state partition, and an empty one for a recovery system. */
async function twoPartitions(lab: CutLab, state: string): Promise<string> {
  const path = join(lab.directory, "two-partitions.raw"), bytes = readFileSync(state);
  writeFileSync(path, "");
  truncateSync(path, 2 * bytes.length + 2 * MIB);
  const sectors = PARTITIONS.map((name) => beginningOf(name, bytes.length) / 512);
  await run("sgdisk", [
    ...["-o", "-a", "2048"],
    ...sectors.flatMap((at, i) => ["-n", `${i + 1}:${at}:${at + bytes.length / 512 - 1}`]),
    path,
  ]);
  await using loop = await attach(path, ["--partscan"]);
  await using opened = await openPartitions(loop.device, PARTITIONS);
  await Deno.writeFile(opened.partitions.state, bytes);
  await labFilesystem(lab.filesystem, opened.partitions.recovery, USUAL_LABELS.recovery);
  return path;
}

/** The same disk with the recovery system in the other form. */
async function packed(lab: CutLab, disk: string, name: string) {
  const base = join(lab.directory, "packed.raw"), file = "recovery.squashfs";
  copyFileSync(disk, base);
  const before = await recoveryOf(base, async (partition) => {
    const image = join(partition, "cOS/recovery.img");
    {
      await using mounted = await mountImage(image);
      await run("mksquashfs", [mounted.path, join(partition, "cOS", file), "-no-progress"]);
    }
    rmSync(image);
    return await knownImage(lab, partition, file, name);
  }, "rw");
  return { base, file, before };
}

/** The recovery partition of a disk that is not in use. */
export async function recoveryOf<T>(disk: string, use: (mounted: string) => Promise<T>, options = "ro"): Promise<T> {
  await using partition = await openRecovery(disk);
  await using mounted = await mount(partition.device, options);
  return await use(mounted.path);
}

async function openRecovery(disk: string): Promise<AsyncDisposable & { device: string }> {
  await using made = new AsyncDisposableStack();
  const { device } = made.use(await attach(disk, ["--partscan"]));
  const { partitions } = made.use(await openPartitions(device, PARTITIONS)), kept = made.move();
  return { device: partitions.recovery, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
