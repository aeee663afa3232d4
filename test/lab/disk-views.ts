/**
 * What two readers find on a state partition: GRUB's own code, which does not replay the journal, and Linux, whose mount does.
 * Images are told apart by their content, the label left out.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mount } from "./disk.ts";
import { runProgram } from "./machine.ts";

/** Debian packages that looking needs. */
export const DISK_VIEW_PACKAGES = ["grub-common", "e2fsprogs", "mount"];

export const SLOTS = ["active", "passive"] as const;
export type Slot = typeof SLOTS[number];

const LABEL_AT = 1024 + 120, LABEL_LENGTH = 16;
const BLOCK = 4096;
const ZEROS = new Uint8Array(BLOCK);

/** Of an image's content: without the label, and the same for holes and for zeros. */
export function imageDigest(bytes: Uint8Array): string {
  const hash = createHash("sha1").update(`${bytes.length}`);
  for (let at = 0; at < bytes.length; at += BLOCK) {
    let block = bytes.subarray(at, at + BLOCK);
    if (Buffer.compare(block, ZEROS) === 0) continue;
    if (at === 0) {
      block = block.slice();
      block.fill(0, LABEL_AT, LABEL_AT + LABEL_LENGTH);
    }
    hash.update(`${at} `).update(block);
  }
  return hash.digest("hex");
}

export interface LinuxFile {
  ino: number;
  digest: string;
  /** Of an image. */
  label?: string;
}

/** Files of `cOS` by name, as the kernel sees them once it has replayed the journal; that stays so on the device. */
export async function linuxView(device: string): Promise<Map<string, LinuxFile>> {
  await using mounted = await mount(device, "rw");
  return filesOf(mounted.path);
}

export function filesOf(state: string): Map<string, LinuxFile> {
  const files = new Map<string, LinuxFile>(), seen = new Map<number, LinuxFile>();
  const directory = join(state, "cOS");
  if (!existsSync(directory)) return files;
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name), { ino } = lstatSync(path);
    let file = seen.get(ino);
    if (file === undefined) {
      const bytes = readFileSync(path);
      file = name.endsWith(".img")
        ? { ino, digest: imageDigest(bytes), label: labelOf(bytes) }
        : { ino, digest: createHash("sha1").update(bytes).digest("hex") };
    }
    seen.set(ino, file);
    files.set(name, file);
  }
  return files;
}

function labelOf(bytes: Uint8Array): string {
  const label = bytes.subarray(LABEL_AT, LABEL_AT + LABEL_LENGTH), end = label.indexOf(0);
  return new TextDecoder().decode(label.subarray(0, end < 0 ? LABEL_LENGTH : end));
}

/** What GRUB needs to start a system. */
const BOOT_FILES = ["/etc/cos/bootargs.cfg", "/boot/vmlinuz", "/boot/initrd"];

/**
 * GRUB's view: for each slot a digest of the boot files that GRUB reads through it, `none` where there is no such image, or
 * `broken` where one of them cannot be read.
 */
export class GrubReader {
  readonly #directory: string;
  /** By the image's digest. */
  readonly #boot = new Map<string, string>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  async view(disk: string): Promise<Record<Slot, string>> {
    const [active, passive] = await Promise.all(SLOTS.map((slot) => this.#slot(disk, slot)));
    return { active: active ?? "none", passive: passive ?? "none" };
  }

  async #slot(disk: string, slot: Slot): Promise<string> {
    const copy = join(this.#directory, `${slot}.of-grub`);
    rmSync(copy, { force: true });
    const { err } = await runProgram("grub-fstest", [disk, "cp", `(loop0)/cOS/${slot}.img`, copy]);
    if (/file .* not found|unknown filesystem/.test(err) || !existsSync(copy)) return "none";
    if (err !== "") return "broken";
    const digest = imageDigest(readFileSync(copy));
    const known = this.#boot.get(digest) ?? await this.bootFiles(copy);
    this.#boot.set(digest, known);
    return known;
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
