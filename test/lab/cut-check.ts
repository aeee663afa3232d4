/** What must be so whenever the power goes: asked of one state of a disk, by means that are not the program's own. */
import { readFileSync } from "node:fs";
import { parseRecord } from "../../lib/formats/record.ts";
import { type Boots, judgeBoots, type MachineKind } from "./cut-boots.ts";
import { type Keeping, KEPT_FILE, keptProblems, NOTHING_KEPT } from "./cut-keeping.ts";
import { CutRepair, fingerprint } from "./cut-repair.ts";
import { attach, type StateFilesystem } from "./disk.ts";
import { type LinuxFiles, linuxView, SLOTS } from "./disk-views.ts";
import { hasTornSuperblock, isLost, mendTornSuperblock } from "./torn-superblock.ts";
import { GrubReader, type GrubView } from "./grub-reader.ts";
import { ImageChecks } from "./image-checks.ts";
import { mountRoot } from "./initramfs-room.ts";
import type { Cut } from "./power-cuts.ts";
import type { ReplayedDisk } from "./replayed-disk.ts";

export interface CheckOptions extends MachineKind {
  /** A scratch directory. */
  directory: string;
  /** The program, for the repair. */
  cos: string;
  filesystem: StateFilesystem;
  /** What `cos` is asked to do where no system is there yet. */
  again: string[];
  /** The operation writes GRUB's parts of boot counting. */
  writesParts: boolean;
  /** The operation notes an image in the record before it can boot. */
  notes: boolean;
  keeping?: Keeping;
}

export interface Verdict {
  problems: string[];
  /** GRUB's kernel and Linux's root come from two images, though the fragment and the initramfs module are there. */
  mixed?: string;
  /** The same with an older grub.cfg, which says no UUID; the next boot is right. */
  mixedOld?: string;
  /** The partition's own superblock is written by half: a disk of small sectors can do that to any filesystem of its kind. */
  torn?: boolean;
  /** All copies of it: nothing can be told of such a state. */
  lost?: boolean;
  /** The default entry does not fit the label of its image: tries must be spent before the fallback is reached. */
  spent?: boolean;
}

const packaged = (name: string) => readFileSync(new URL(`../../packaging/grub/${name}`, import.meta.url), "utf8");
/** What `cos boot install` writes, by name: none of it is read by half. */
const PARTS = {
  grubcustom: packaged("grubcustom.cfg") + packaged("grubcustom-image.cfg"),
  grub_boot_assessment: packaged("grub_boot_assessment.cfg"),
  grub_image_uuid: packaged("grub_image_uuid.cfg"),
  boot_assessment: "# GRUB Environment Block\n".padEnd(1024, "#"),
};

export class CutChecker implements AsyncDisposable {
  readonly repair: CutRepair;
  readonly #options: CheckOptions;
  readonly #file: string;
  readonly #device: Awaited<ReturnType<typeof attach>>;
  readonly #grub: GrubReader;
  readonly #images: ImageChecks;
  /** What Linux finds in mixed states: the same in all, since nothing else may be done while readers disagree. */
  #inMixed: string | undefined;
  /** What is wrong with the root that `cos boot root` mounts, by what it goes by. */
  readonly #roots = new Map<string, string[]>();
  /** There was a record before. */
  #hadRecord: boolean | undefined;

  private constructor(options: CheckOptions, file: string, device: Awaited<ReturnType<typeof attach>>) {
    const trees = new Map(options.images.map(({ digest, tree }) => [digest, tree]));
    this.#options = options;
    this.#file = file;
    this.#device = device;
    this.#grub = new GrubReader(options.directory);
    this.#images = new ImageChecks(options.directory, trees);
    this.repair = new CutRepair({ ...options, file, device: device.device, grub: this.#grub, checks: this.#images });
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

  async check(disk: ReplayedDisk, cut: Pick<Cut, "ended" | "last" | "torn">): Promise<Verdict> {
    const { filesystem, counts, images, keeping = NOTHING_KEPT } = this.#options, { last, torn: someTorn } = cut;
    disk.save(this.#file);
    const grub = await this.#grub.view(this.#file, disk);
    const block = counts ? await this.#grub.text(this.#file, "boot_assessment") : "";
    const parts = this.#options.writesParts ? await this.#partsProblems() : [];
    if (isLost(disk.bytes, filesystem, someTorn)) return { problems: [], torn: true, lost: true };
    const torn = hasTornSuperblock(disk.bytes, filesystem);
    // No owner of a filesystem can help that; it is counted, and the check that an initramfs makes has to mend it.
    const unmended = torn ? await mendTornSuperblock(this.#file, filesystem, someTorn) : [];
    let linux: LinuxFiles;
    try {
      linux = await linuxView(this.#device.device, filesystem);
    } catch (error) {
      const why = error instanceof Error ? error.message : error;
      return { problems: [...unmended, `Linux does not mount it: ${why}`], torn };
    }
    const state = { grub, linux, last, tries: /^cos_tries=(.*)$/m.exec(block)?.[1] ?? "" };
    const byUuid = judgeBoots(this.#options, "uuid", state), byName = judgeBoots(this.#options, "name", state);
    const problems = new Set([...unmended, ...parts, ...await this.#damages(grub, linux)]);
    for (const one of [...byName.problems, ...byUuid.problems, ...this.#recordProblems(linux)]) problems.add(one);
    for (const one of keptProblems(linux, images, keeping, cut)) problems.add(one);
    if (byName.mixed !== undefined) {
      for (const one of await this.#mixedProblems(byName.mixed, linux)) problems.add(one);
    }
    for (const one of await this.repair.problems(linux, cut)) problems.add(one);
    if (byName.mixed !== undefined && byUuid.chosen !== undefined) {
      disk.save(this.#file);
      if (torn) await mendTornSuperblock(this.#file, filesystem, someTorn);
      for (const one of await this.#rootProblems(byUuid.chosen, grub, linux)) problems.add(one);
    }
    return { problems: [...problems], mixed: byUuid.mixed, mixedOld: byName.mixed, torn, spent: byName.spent };
  }

  /** What a slot's name leads to is none of the images that are known, or not whole. */
  async #damages(grub: GrubView, linux: LinuxFiles): Promise<string[]> {
    const problems: string[] = [], { images } = this.#options;
    for (const slot of SLOTS) {
      const file = linux.get(`${slot}.img`), { boot } = grub[slot];
      if (file !== undefined) {
        if (!images.some(({ digest }) => digest === file.digest)) problems.push(`Linux finds a damaged ${slot}.img`);
        const wrong = await this.#images.problems(file);
        problems.push(...wrong.map((what) => `${slot}.img: ${what}`));
      }
      if (boot !== "none" && !images.some((image) => image.boot === boot)) {
        problems.push(`GRUB finds a damaged ${slot}.img`);
      }
    }
    for (const [name, file] of linux) {
      if (!KEPT_FILE.test(name)) continue;
      for (const what of await this.#images.problems(file)) problems.push(`${name}: ${what}`);
    }
    return problems;
  }

  /** The record is whole, the old or the new one, and knows an image before a name leads to it. */
  #recordProblems(linux: LinuxFiles): string[] {
    const file = linux.get("state.json");
    this.#hadRecord ??= file !== undefined;
    if (file === undefined) return this.#hadRecord ? ["the record is gone"] : [];
    const record = parseRecord(file.content.pieces[0]?.bytes ?? new Uint8Array());
    if (record === undefined) return ["the record is damaged"];
    if (!this.#options.notes) return [];
    const named = [...linux].filter(([name]) => /^(active|passive)\.img$/.test(name) || KEPT_FILE.test(name));
    const unknown = named.filter(([, { uuid }]) => uuid !== undefined && record.images[uuid] === undefined);
    return unknown.map(([name]) => `the record does not know ${name.replace(/-.*(?=\.)/, "-*")}`);
  }

  /** GRUB reads each part whole or not at all, and our hook only once what it leads to is there. */
  async #partsProblems(): Promise<string[]> {
    const problems: string[] = [], found = new Set<string>();
    for (const [name, wanted] of Object.entries(PARTS)) {
      const text = await this.#grub.text(this.#file, name);
      if (text !== "") found.add(name);
      if (text !== "" && text !== wanted) problems.push(`GRUB reads ${name} by half`);
    }
    if (found.has("grubcustom") && found.size < Object.keys(PARTS).length) {
      problems.push(`GRUB's hook is there with ${[...found].join(", ")} only`);
    }
    return problems;
  }

  /** `cos boot root` itself, where the root's image has another name than its kernel had for GRUB: it mends on the way, too. */
  async #rootProblems({ slot, kernel }: NonNullable<Boots["chosen"]>, grub: GrubView, linux: LinuxFiles) {
    const words = `cos-img/filename=/cOS/${slot}.img cos.image_uuid=${grub[slot].uuid}`;
    const key = `${words} ${fingerprint(linux)}`, known = this.#roots.get(key);
    if (known !== undefined) return known;
    const { status, version, warnings } = await mountRoot(words);
    const problems = version === kernel.name
      ? []
      : [`cos boot root ends with ${status} and ${version ?? "no root"} for the kernel of ${kernel.name}: ${warnings}`];
    this.#roots.set(key, problems);
    return problems;
  }

  async #mixedProblems(mixed: string, linux: LinuxFiles): Promise<string[]> {
    const problems: string[] = [];
    // The mount has replayed the journal: the next boot must find one image.
    const grub = await this.#grub.view(this.#file);
    for (const slot of SLOTS) {
      const boot = this.#options.images.find(({ digest }) => digest === linux.get(`${slot}.img`)?.digest)?.boot;
      if ((boot ?? "none") !== grub[slot].boot) problems.push(`${mixed}; and the next boot is not right`);
    }
    const print = fingerprint(linux);
    this.#inMixed ??= print;
    if (this.#inMixed !== print) problems.push(`${mixed}, and the operation has gone on meanwhile`);
    return problems;
  }
}
