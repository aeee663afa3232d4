/**
 * What GRUB's own code finds on a partition whose journal nobody has replayed. What it read is noted, so that it need not be
 * asked again about a disk on which the same is there.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { imageDigest, type Slot, SLOTS, uuidOf, wholeFile } from "./disk-views.ts";
import { runProgram } from "./machine.ts";
import { BLOCK, type ReplayedDisk } from "./replayed-disk.ts";

/** What GRUB needs to start a system. */
const BOOT_FILES = ["/etc/cos/bootargs.cfg", "/boot/vmlinuz", "/boot/initrd"];

/** What GRUB reads through an image's name. */
export interface GrubImage {
  /** A digest of the boot files, `none` where there is no such image, or `broken`. */
  boot: string;
  /** Of the filesystem that the kernel is in: what the fragment passes on. */
  uuid?: string;
}

export type GrubView = Record<Slot, GrubImage>;

const NONE: GrubImage = { boot: "none" }, BROKEN: GrubImage = { boot: "broken" };

/** The blocks that were read, and what was found by their sum. */
interface Reading {
  blocks: Set<number>;
  found: Map<string, GrubImage>;
}

export class GrubReader {
  /** How often GRUB was asked about a disk. */
  asked = 0;
  readonly #directory: string;
  readonly #place: string;
  /** By the image's digest. */
  readonly #boot = new Map<string, GrubImage>();
  /** By the image's name. */
  readonly #readings = new Map<string, Map<string, Reading>>();

  /** @param place of the partition, as GRUB calls it on a disk that is all there is. */
  constructor(directory: string, place = "(loop0)") {
    this.#directory = directory;
    this.#place = place;
  }

  /** @param disk what the file holds, where that is known: then what was read before is not read again. */
  async view(file: string, disk?: ReplayedDisk): Promise<GrubView> {
    const [active, passive] = await Promise.all(SLOTS.map((slot) => this.image(`${slot}.img`, file, disk)));
    return { active: active ?? NONE, passive: passive ?? NONE };
  }

  /** What lies in `cOS` by that name. */
  async image(name: string, file: string, disk?: ReplayedDisk): Promise<GrubImage> {
    const readings = this.#readings.get(name) ?? new Map<string, Reading>();
    this.#readings.set(name, readings);
    for (const { blocks, found } of disk === undefined ? [] : readings.values()) {
      const known = found.get(disk?.sumOf(blocks) ?? "");
      if (known !== undefined) return known;
    }
    this.asked++;
    const copy = join(this.#directory, `${name}.of-grub`), trace = `${copy}.trace`;
    rmSync(copy, { force: true });
    const words = ["grub-fstest", file, "cp", `${this.#place}/cOS/${name}`, copy];
    if (disk === undefined) {
      const { err } = await runProgram("grub-fstest", words.slice(1));
      return await this.#found(copy, err);
    }
    const options = ["-f", "-qq", "-s", "0", "-o", trace, "-e", "trace=openat,lseek,read"];
    const { err } = await runProgram("strace", [...options, ...words]);
    const result = await this.#found(copy, err);
    const blocks = blocksRead(readFileSync(trace, "utf8"), file), key = [...blocks].join(" ");
    const reading = readings.get(key) ?? { blocks, found: new Map<string, GrubImage>() };
    reading.found.set(disk.sumOf(blocks), result);
    readings.set(key, reading);
    return result;
  }

  async #found(copy: string, err: string): Promise<GrubImage> {
    if (/file .* not found|unknown filesystem/.test(err) || !existsSync(copy)) return NONE;
    if (err !== "") return BROKEN;
    const bytes = readFileSync(copy), digest = imageDigest(wholeFile(bytes));
    const known = this.#boot.get(digest) ?? { boot: await this.bootFiles(copy), uuid: uuidOf(bytes) };
    this.#boot.set(digest, known);
    return known;
  }

  /** A small file; empty where there is none. */
  async text(file: string, path: string): Promise<string> {
    return (await runProgram("grub-fstest", [file, "cat", `${this.#place}/${path}`])).out;
  }

  /** A digest of the boot files in an image, read by GRUB. */
  async bootFiles(image: string): Promise<string> {
    const hash = createHash("sha1");
    for (const file of BOOT_FILES) {
      const { out, err } = await runProgram("grub-fstest", [image, "cat", `(loop0)${file}`]);
      if (err !== "" || out === "") return "broken";
      hash.update(`${file} ${out.length} `).update(out);
    }
    return hash.digest("hex");
  }
}

/** Throws where the trace tells of none: then nothing could be known by it. */
function blocksRead(trace: string, file: string): Set<number> {
  const blocks = new Set<number>();
  let fd = "", at = 0;
  for (const line of trace.split("\n")) {
    const opened = /openat\(AT_FDCWD, "?(.*?)"?(?:\.\.\.)?, .* = (\d+)$/.exec(line);
    if (opened !== null) {
      if (opened[1] === file) fd = opened[2] ?? "";
      else if (opened[2] === fd) fd = "";
      if (fd !== "") at = 0;
    }
    const seek = /lseek\((\d+), .* = (\d+)$/.exec(line);
    if (seek !== null && seek[1] === fd) at = Number(seek[2]);
    const read = /read\((\d+), .* = (\d+)$/.exec(line);
    if (read === null || read[1] !== fd) continue;
    const end = at + Number(read[2]);
    for (let block = Math.floor(at / BLOCK); block * BLOCK < end; block++) blocks.add(block);
    at = end;
  }
  if (blocks.size === 0) throw new Error(`strace does not tell what grub-fstest reads in ${file}`);
  return blocks;
}
