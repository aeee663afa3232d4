/** Disks that operations and controls of the power-cut harness start from, and the images on them. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { KnownImage } from "./cut-boots.ts";
import { attach, mount, mountImage } from "./disk.ts";
import { filesOf, linuxView } from "./disk-views.ts";
import { GrubReader } from "./grub-reader.ts";
import { treeDigest, treeOf } from "./image-checks.ts";
import type { CutLab, Operation } from "./power-cut.ts";
import { ReplayedDisk } from "./replayed-disk.ts";
import { run } from "./run.ts";
import { smallSystem } from "./small-os.ts";
import { bytesOf } from "./tar-writer.ts";

/** The active image of a disk that is not in use. Throws what `knownImage` throws. */
export async function activeImage(lab: CutLab, disk: string, name: string): Promise<KnownImage> {
  await using loop = await attach(disk);
  await using mounted = await mount(loop.device);
  return await knownImage(lab, mounted.path, "active.img", name);
}

/** An image in `cOS` of a partition that is mounted. Throws where it is not clean, or not the system of that name. */
export async function knownImage(lab: CutLab, partition: string, file: string, name: string): Promise<KnownImage> {
  const copy = join(lab.directory, "image-to-know"),
    grub = new GrubReader(lab.directory),
    isExt = file.endsWith(".img");
  copyFileSync(join(partition, "cOS", file), copy);
  if (isExt) await run("e2fsck", ["-fn", copy]);
  {
    await using mounted = await mountImage(copy);
    for (const [path, sum] of packedFiles(name)) {
      if (sha256(readFileSync(join(mounted.path, path))) === sum) continue;
      throw new Error(`${file} is not ${name}: ${path} is another`);
    }
  }
  const digest = filesOf(partition).get(file)?.digest ?? "";
  // Not every kernel tells the attributes in a squashfs; such a file is known by its bytes.
  const tree = isExt ? treeDigest(await treeOf(copy)) : "";
  return { name, digest, boot: await grub.bootFiles(copy), tree, good: true };
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What was packed for a system of that name: by path the file's SHA-256. */
function packedFiles(name: string): Map<string, string> {
  const sums = smallSystem(name).flatMap((item): [string, string][] => {
    if (!("typeflag" in item) || item.typeflag !== "0") return [];
    return [[String(item.name), sha256(bytesOf(item.content ?? ""))]];
  });
  return new Map(sums);
}

/** They may come up, but nobody has seen it. */
export const asNew = (images: readonly KnownImage[]) => images.map((image) => ({ ...image, good: false }));

/** The same disk with a GRUB that counts. */
export async function counting(base: string, tries: string): Promise<string> {
  const path = `${base}.counting-${tries}`;
  if (existsSync(path)) return path;
  copyFileSync(base, path);
  await using loop = await attach(path);
  await using mounted = await mount(loop.device, "rw");
  const block = `# GRUB Environment Block\ncos_tries=${tries}\n`.padEnd(1024, "#");
  writeFileSync(join(mounted.path, "boot_assessment"), block);
  writeFileSync(join(mounted.path, "grubcustom"), "source /grub_boot_assessment\n");
  writeFileSync(join(mounted.path, "grub_boot_assessment"), "load_env cos_tries\n");
  return path;
}

/** The disk as a cut leaves it where Linux finds those names. @param open how the partition is reached on which they are. */
export async function midway(
  lab: CutLab,
  { base, log }: Operation,
  file: string,
  wanted: (names: string[]) => boolean,
  open: (path: string) => Promise<AsyncDisposable & { device: string }> = attach,
): Promise<string> {
  const disk = new ReplayedDisk(base), path = join(lab.directory, file);
  writeFileSync(path, "");
  disk.save(path);
  {
    await using loop = await open(path);
    for (const entry of log) {
      if (entry.do === "write") {
        disk.write(entry.offset, entry.data);
        continue;
      }
      disk.save(path);
      if (!wanted([...(await linuxView(loop.device, lab.filesystem)).keys()])) continue;
      disk.save(path); // the look has replayed the journal
      return path;
    }
  }
  throw new Error(`No cut of it leaves what ${file} is to hold`);
}

/** Blocks of zeros become holes, and none are marked as unwritten: GRUB does not know that mark. */
export function copySparse(from: string, to: string): void {
  const bytes = readFileSync(from), fd = openSync(to, "w"), block = 4096, zeros = new Uint8Array(block);
  ftruncateSync(fd, bytes.length);
  for (let at = 0; at < bytes.length; at += block) {
    if (Buffer.compare(bytes.subarray(at, at + block), zeros) !== 0) writeSync(fd, bytes, at, block, at);
  }
  fsyncSync(fd);
  closeSync(fd);
}
