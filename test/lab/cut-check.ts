/** What must be so whenever the power goes: asked of one state of a disk, by means that are not the program's own. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { attach, type StateFilesystem } from "./disk.ts";
import { imageDigest, type LinuxFile, linuxView, type Slot, SLOTS } from "./disk-views.ts";
import { hasTornSuperblock } from "./ext-superblock.ts";
import { GrubReader, type GrubView } from "./grub-reader.ts";
import { runProgram } from "./machine.ts";
import type { ReplayedDisk } from "./replayed-disk.ts";

/** An image as it must be whenever a slot's name leads to it. */
export interface KnownImage {
  name: string;
  digest: string;
  /** Of the files that GRUB reads in it. */
  boot: string;
  /** It ran well before the operation. */
  good: boolean;
}

export interface CheckOptions {
  /** A scratch directory. */
  directory: string;
  /** The program, for the repair. */
  cos: string;
  filesystem: StateFilesystem;
  images: readonly KnownImage[];
  /** There was no system before: until the operation ends there may be none. */
  fromNothing: boolean;
  /** GRUB counts tries on this machine, and its entries match labels. */
  counts: boolean;
  /** What `cos` is asked to do where no system is there yet. */
  again: string[];
}

export interface Verdict {
  problems: string[];
  /** GRUB's kernel and Linux's root come from two images; the next boot is right. */
  mixed?: string;
  /** The partition's own superblock is written by half: a disk of small sectors can do that to any ext4. */
  torn?: boolean;
  /** The default entry does not fit the label of its image: tries must be spent before the fallback is reached. */
  spent?: boolean;
}

type Files = Map<string, LinuxFile>;

const LABELS = { active: "COS_ACTIVE", passive: "COS_PASSIVE" } as const;

export class CutChecker implements AsyncDisposable {
  /** Distinct states that a repair was tried in. */
  repairs = 0;
  readonly #options: CheckOptions;
  readonly #file: string;
  readonly #device: Awaited<ReturnType<typeof attach>>;
  readonly #grub: GrubReader;
  readonly #repaired = new Map<string, string[]>();
  /** What Linux finds in mixed states: the same in all, since nothing else may be done while readers disagree. */
  #inMixed: string | undefined;

  private constructor(options: CheckOptions, file: string, device: Awaited<ReturnType<typeof attach>>) {
    this.#options = options;
    this.#file = file;
    this.#device = device;
    this.#grub = new GrubReader(options.directory);
  }

  static async open(options: CheckOptions, disk: ReplayedDisk): Promise<CutChecker> {
    const file = `${options.directory}/checked.raw`;
    await Deno.writeFile(file, new Uint8Array());
    disk.save(file);
    return new CutChecker(options, file, await attach(file));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device.close();
  }

  /** @param last the operation has ended: nothing may be half done any more. */
  async check(disk: ReplayedDisk, last: boolean): Promise<Verdict> {
    disk.save(this.#file);
    const grub = await this.#grub.view(this.#file, disk);
    const tries = this.#options.counts ? await this.#tries() : undefined;
    const torn = hasTornSuperblock(disk.bytes);
    // No filesystem's owner can help that; it is counted, and the check that an initramfs makes has to mend it.
    if (torn) await runProgram("e2fsck", ["-fy", this.#file]);
    let linux: Files;
    try {
      linux = this.#look();
    } catch (error) {
      return { problems: [`Linux does not mount it: ${error instanceof Error ? error.message : error}`], torn };
    }
    const verdict: Verdict = { ...this.#boots(grub, linux, last), torn };
    if (tries !== undefined && verdict.mixed === undefined) this.#countDown(verdict, tries, grub, linux);
    if (verdict.mixed !== undefined) await this.#checkMixed(verdict, linux);
    const print = fingerprint(linux);
    const repair = this.#repaired.get(print) ?? await this.#repair(linux, last);
    this.#repaired.set(print, repair);
    verdict.problems.push(...repair);
    return verdict;
  }

  #look(): Files {
    return linuxView(this.#device.device, this.#options.filesystem);
  }

  #boots(grub: Record<Slot, string>, linux: Files, last: boolean): Verdict {
    const problems: string[] = [], { images } = this.#options;
    const root = (slot: Slot) => images.find(({ digest }) => digest === linux.get(`${slot}.img`)?.digest);
    const kernel = (slot: Slot) => images.find(({ boot }) => boot === grub[slot]);
    for (const slot of SLOTS) {
      if (linux.has(`${slot}.img`) && root(slot) === undefined) problems.push(`Linux finds a damaged ${slot}.img`);
      if (grub[slot] !== "none" && kernel(slot) === undefined) problems.push(`GRUB finds a damaged ${slot}.img`);
    }
    const chosen = SLOTS.find((slot) => kernel(slot) !== undefined);
    if (chosen === undefined) {
      if (!this.#options.fromNothing || last) problems.push("GRUB finds nothing to boot");
      return { problems };
    }
    if (root(chosen) === undefined) problems.push(`GRUB boots ${chosen}.img, and Linux finds no whole image there`);
    else if (root(chosen)?.good !== true) {
      const wayBack = SLOTS.find((slot) => slot !== chosen && kernel(slot)?.good === true && root(slot)?.good === true);
      if (wayBack === undefined && !this.#options.fromNothing) problems.push("a new system, and no way back");
    }
    const [from, to] = [kernel(chosen)?.name, root(chosen)?.name];
    if (from === to || to === undefined) return { problems };
    const mixed = `the kernel of ${from}, the root of ${to}`;
    if (last) problems.push(`${mixed}, though the operation has ended`);
    return { problems, mixed };
  }

  /** As GRUB reads them. */
  async #tries(): Promise<string> {
    const { out } = await runProgram("grub-fstest", [this.#file, "cat", "(loop0)/boot_assessment"]);
    return /^cos_tries=(.*)$/m.exec(out)?.[1] ?? "";
  }

  /** Which entry is booted, and which one is reached when the tries are used up: entries fit only their label. */
  #countDown(verdict: Verdict, tries: string, grub: GrubView, linux: Files): void {
    const { images } = this.#options;
    const reached = (slot: Slot) => {
      const file = linux.get(`${slot}.img`), image = images.find(({ digest }) => digest === file?.digest);
      const boots = file?.label === LABELS[slot] && image?.boot === grub[slot];
      return boots ? image : undefined;
    };
    const order: Slot[] = tries === "0" || grub.active === "none" ? ["passive"] : ["active"];
    if (/^[123]$/.test(tries)) order.push("passive");
    const slot = order.find((one) => reached(one) !== undefined), counter = `the counter is "${tries}"`;
    if (slot === undefined) verdict.problems.push(`${counter}, and no entry that is reached fits its label`);
    else if (reached(slot)?.good !== true && reached("passive")?.good !== true) {
      verdict.problems.push(`${counter}, and the way back does not fit its label`);
    }
    verdict.spent = slot !== undefined && slot !== order[0];
  }

  async #checkMixed({ mixed, problems }: Verdict, linux: Files): Promise<void> {
    // The mount has replayed the journal: the next boot must find one image.
    const grub = await this.#grub.view(this.#file);
    for (const slot of SLOTS) {
      const boot = this.#options.images.find(({ digest }) => digest === linux.get(`${slot}.img`)?.digest)?.boot;
      if ((boot ?? "none") !== grub[slot]) problems.push(`${mixed}; and the next boot is not right`);
    }
    const print = fingerprint(linux);
    this.#inMixed ??= print;
    if (this.#inMixed !== print) problems.push(`${mixed}, and the operation has gone on meanwhile`);
  }

  /** On what the mount has left. */
  async #repair(linux: Files, last: boolean): Promise<string[]> {
    this.repairs++;
    const { cos, again } = this.#options, { device } = this.#device;
    const ask = async (words: string[]) => {
      const { status, err } = await runProgram(cos, [...words, "--state", device]);
      if (status !== 0) problems.push(`cos ${words[0]} ended with ${status}: ${err.trim().split("\n")[0]}`);
    };
    const problems: string[] = [];
    const empty = SLOTS.every((slot) => !linux.has(`${slot}.img`));
    if (empty && !last) await ask(again);
    else await ask(["repair"]);
    const after = this.#look();
    await ask(["repair"]);
    const twice = this.#look();
    if (fingerprint(after, true) !== fingerprint(twice, true)) problems.push("a second repair changes something");
    problems.push(...this.#consistent(after, empty));
    const grub = await this.#grub.view(this.#file);
    for (const slot of SLOTS) {
      const boot = this.#options.images.find(({ digest }) => digest === after.get(`${slot}.img`)?.digest)?.boot;
      if (!empty && boot !== grub[slot]) problems.push(`after the repair GRUB does not find what ${slot}.img is`);
    }
    if (this.#options.filesystem === "ext4") {
      const fsck = await runProgram("e2fsck", ["-fn", this.#file]);
      if (fsck.status !== 0) problems.push(`after the repair e2fsck says: ${fsck.out.trim()}`);
    }
    return problems.map((problem) => `${problem} (repaired from ${[...linux.keys()].join(" ")})`);
  }

  #consistent(files: Files, redone: boolean): string[] {
    const problems: string[] = [], { images } = this.#options;
    for (const name of files.keys()) {
      // A record that was not finished is written over by the next one.
      if (!/^(active|passive)\.img$|^state\.json(\.new)?$/.test(name)) {
        problems.push(`after the repair there is ${name}`);
      }
    }
    const one = files.get("active.img")?.ino === files.get("passive.img")?.ino;
    for (const slot of SLOTS) {
      const file = files.get(`${slot}.img`);
      if (file === undefined) problems.push(`after the repair there is no ${slot}.img`);
      // One that was installed anew has another UUID.
      else if (!redone && !images.some(({ digest }) => digest === file.digest)) {
        problems.push(`after the repair ${slot}.img is damaged`);
      }
      const wanted = one ? LABELS.active : LABELS[slot];
      if (file !== undefined && file.label !== wanted) problems.push(`after the repair ${slot}.img is ${file.label}`);
    }
    return problems;
  }
}

/** Of all that a repair goes by: what is half written counts as a name only. */
function fingerprint(files: Files, exact = false): string {
  const inodes = [...new Set([...files.values()].map(({ ino }) => ino))];
  const lines = [...files].map(([name, { ino, digest, label }]) => {
    const partial = !exact && (name === "transition.img" || name === "state.json.new");
    return `${name} ${partial ? "" : `${inodes.indexOf(ino)} ${digest} ${label}`}`;
  });
  return createHash("sha1").update(lines.join("\n")).digest("hex");
}

export async function knownImage(grub: GrubReader, path: string, name: string, good: boolean): Promise<KnownImage> {
  return { name, digest: imageDigest(readFileSync(path)), boot: await grub.bootFiles(path), good };
}
