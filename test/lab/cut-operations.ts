/** What is cut: the operations of the real program, and the controls. */
import { Buffer } from "node:buffer";
import {
  closeSync,
  copyFileSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { boot } from "./booted.ts";
import { type KnownImage, knownImage } from "./cut-check.ts";
import type { Control } from "./cut-controls.ts";
import { attach, mount } from "./disk.ts";
import { linuxView } from "./disk-views.ts";
import { GrubReader } from "./grub-reader.ts";
import { type CutLab, emptyDisk, type Operation, program, record, type Work } from "./power-cut.ts";
import { ReplayedDisk } from "./replayed-disk.ts";

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

/** All operations, each from where it starts; the short form leaves out those that write what another one writes too. */
export async function recordOperations(lab: CutLab, short = false): Promise<Operation[]> {
  const operations: Operation[] = [], empty = await emptyDisk(lab);
  const add = async (name: string, base: string, images: KnownImage[], work: Work, mounted = true): Promise<string> => {
    const [log, disk] = await record(lab, base, name.replaceAll(" ", "-"), work, mounted ? "rw" : null);
    operations.push({ name, base, log, images, fromNothing: base === empty });
    return disk;
  };
  const found = async (disk: string, name: string) => {
    const images = await imagesOf(lab, disk, { active: name });
    operations.at(-1)?.images.push(...asNew(images));
    return images;
  };
  const v1Disk = await add("deploy", empty, [], program(lab, "deploy", ...lab.install("v1")));
  const v1 = await found(v1Disk, "v1");
  const v2Disk = await add("first upgrade", v1Disk, [...v1], program(lab, "upgrade", ...lab.install("v2")));
  const v2 = await found(v2Disk, "v2");
  const v3Disk = await add("upgrade", v2Disk, [...v1, ...v2], program(lab, "upgrade", ...lab.install("v3")));
  const v3 = await found(v3Disk, "v3"), upgrade = operations.at(-1);
  await add("rollback", v3Disk, [...v2, ...v3], program(lab, "rollback"));

  const all = [...v1, ...v2, ...asNew(v3)];
  for (const [name, left] of [["before", true], ["after", false]] as const) {
    if (upgrade === undefined) break;
    const base = await midway(
      lab,
      upgrade,
      `cut-${name}.raw`,
      (names) => names.includes("spare.img") && names.includes("transition.img") === left,
    );
    await add(`repair of an upgrade cut ${name} its commit`, base, all, program(lab, "repair"));
  }
  const counted = async (name: string, tries: string, images: KnownImage[], work: Work, mounted = true) => {
    await add(name, await counting(lab, v3Disk, `counting-${tries}.raw`, tries), images, work, mounted);
    const operation = operations.at(-1);
    if (operation !== undefined) operation.counts = true;
  };
  await counted("rollback where tries are counted", "", [...v2, ...v3], program(lab, "rollback"));
  if (short) return operations;

  // On machines that run from one of their images. The other system may be bad: it is nothing to fall back to.
  const bad = asNew(v3), fresh = lab.install("v4");
  await add("upgrade run from active", v3Disk, [...v2, ...v3], running(lab, "active", "upgrade", ...fresh), false);
  await found(join(lab.directory, "upgrade-run-from-active.raw"), "v4");
  await add("upgrade run from passive", v3Disk, [...v2, ...bad], running(lab, "passive", "upgrade", ...fresh), false);
  await found(join(lab.directory, "upgrade-run-from-passive.raw"), "v4");
  await add("rollback run from active", v3Disk, [...v2, ...v3], running(lab, "active", "rollback"), false);
  await add("rollback run from passive", v3Disk, [...v2, ...bad], running(lab, "passive", "rollback"), false);

  const upgradeCounted = "upgrade where tries are counted";
  await counted(upgradeCounted, "", [...v2, ...v3], program(lab, "upgrade", ...fresh));
  await found(join(lab.directory, `${upgradeCounted.replaceAll(" ", "-")}.raw`), "v4");
  const back = running(lab, "passive", "rollback");
  await counted("rollback of a machine that rests on its fallback", "0", [...v2, ...bad], back, false);
  return operations;
}

/** The same disk with a GRUB that counts. */
async function counting(lab: CutLab, base: string, file: string, tries: string): Promise<string> {
  const path = join(lab.directory, file);
  copyFileSync(base, path);
  await using loop = await attach(path);
  await using mounted = await mount(loop.device, "rw");
  const block = `# GRUB Environment Block\ncos_tries=${tries}\n`.padEnd(1024, "#");
  writeFileSync(join(mounted.path, "boot_assessment"), block);
  writeFileSync(join(mounted.path, "grubcustom"), "source /grub_boot_assessment\n");
  writeFileSync(join(mounted.path, "grub_boot_assessment"), "load_env cos_tries\n");
  return path;
}

/** By the program in the system of that slot, whose initramfs has mounted the partition read-only. */
const running = (lab: CutLab, slot: "active" | "passive", ...words: string[]): Work => async (device) => {
  await using machine = await boot({ state: device, directory: lab.directory }, slot);
  const inside = words.map((word) => word.replace(lab.directory, "/tmp"));
  const { status, err } = await machine.cos(...inside);
  if (status !== 0) throw new Error(`cos ${words.join(" ")} ended with ${status}: ${err}`);
};

/** The disk as a cut leaves it where Linux finds those names. */
async function midway(
  lab: CutLab,
  { base, log }: Operation,
  file: string,
  wanted: (names: string[]) => boolean,
): Promise<string> {
  const disk = new ReplayedDisk(base), path = join(lab.directory, file);
  writeFileSync(path, "");
  disk.save(path);
  {
    await using loop = await attach(path);
    for (const entry of log) {
      if (entry.do === "write") {
        disk.write(entry.offset, entry.data);
        continue;
      }
      disk.save(path);
      if (!wanted([...linuxView(loop.device, lab.filesystem).keys()])) continue;
      disk.save(path); // the look has replayed the journal
      return path;
    }
  }
  throw new Error(`No cut of it leaves what ${file} is to hold`);
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
  for (const [i, { name, options, counts = false, steps }] of controls.entries()) {
    const start = counts ? await counting(lab, base, "control-counting.raw", "3") : base;
    const work: Work = async (_device, mountPoint) => await steps(join(mountPoint, "cOS"));
    const [log] = await record(lab, start, `control-${i}`, work, options);
    operations.push({ name, base: start, log, images, fromNothing: false, counts });
  }
  return operations;
}
