/**
 * What must be so of a recovery system whenever the power goes while it is replaced: it is the old one or the new one, whole, for
 * GRUB and for Linux; the systems in the slots are as they were; the next run leaves nothing of what was cut.
 */
import { parseRecord } from "../../lib/formats/record.ts";
import { rootCandidates } from "../../lib/machine/root-image.ts";
import { USUAL_LABELS } from "../../lib/base/labels.ts";
import type { KnownImage } from "./cut-boots.ts";
import type { CheckOptions, Verdict } from "./cut-check.ts";
import { beginningOf, PARTITIONS, type RecoveryKind } from "./cut-recovery.ts";
import { filesystemProblems, fingerprint } from "./cut-repair.ts";
import { attach, openPartitions } from "./disk.ts";
import { type LinuxFiles, linuxView, SLOTS } from "./disk-views.ts";
import { type GrubImage, GrubReader } from "./grub-reader.ts";
import { ImageChecks } from "./image-checks.ts";
import { runProgram } from "./machine.ts";
import type { Cut } from "./power-cuts.ts";
import type { ReplayedDisk } from "./replayed-disk.ts";
import { hasTornSuperblock, isLost, mendTornSuperblock } from "./torn-superblock.ts";

export interface RecoveryCheckOptions extends Pick<CheckOptions, "directory" | "cos" | "filesystem"> {
  recovery: RecoveryKind;
  /** What `cos` is asked to do once more: the upgrade that was cut. */
  again: string[];
}

type Devices = Record<typeof PARTITIONS[number], string>;
type Views = Record<typeof PARTITIONS[number], LinuxFiles>;

export class RecoveryChecker implements AsyncDisposable {
  /** Distinct states in which the upgrade was run again. */
  readonly repair = { tried: 0 };
  readonly #options: RecoveryCheckOptions;
  readonly #file: string;
  readonly #devices: Devices;
  readonly #cleanup: AsyncDisposable;
  readonly #grub: GrubReader;
  readonly #images: ImageChecks;
  /** What the next run makes of a state, by its fingerprint. */
  readonly #reruns = new Map<string, string[]>();
  /** The slots before. */
  #slots: string | undefined;

  private constructor(options: RecoveryCheckOptions, file: string, devices: Devices, cleanup: AsyncDisposable) {
    const { recovery: { before, after }, directory } = options;
    const known = [before, after].filter((image) => image !== undefined);
    this.#options = options;
    this.#file = file;
    this.#devices = devices;
    this.#cleanup = cleanup;
    this.#grub = new GrubReader(directory, "(loop0,gpt2)");
    this.#images = new ImageChecks(directory, new Map(known.map(({ digest, tree }) => [digest, tree])));
  }

  static async open(options: RecoveryCheckOptions, disk: ReplayedDisk): Promise<RecoveryChecker> {
    await using made = new AsyncDisposableStack();
    const file = `${options.directory}/checked-disk.raw`;
    await Deno.writeFile(file, new Uint8Array());
    disk.save(file);
    const { device } = made.use(await attach(file, ["--partscan"]));
    const { partitions } = made.use(await openPartitions(device, PARTITIONS));
    return new RecoveryChecker(options, file, partitions, made.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup[Symbol.asyncDispose]();
  }

  async check(disk: ReplayedDisk, { last, torn: someTorn }: Pick<Cut, "last" | "torn">): Promise<Verdict> {
    const { filesystem, recovery: { file, size } } = this.#options, problems: string[] = [];
    disk.save(this.#file);
    const read = await this.#grub.image(file, this.#file, disk);
    let torn = false;
    for (const name of PARTITIONS) {
      const start = beginningOf(name, size), bytes = disk.bytes.subarray(start, start + size);
      if (isLost(bytes, filesystem, someTorn)) return { problems: [], torn: true, lost: true };
      if (!hasTornSuperblock(bytes, filesystem)) continue;
      torn = true;
      problems.push(...await mendTornSuperblock(this.#devices[name], filesystem, someTorn));
    }
    let views: Views;
    try {
      views = await this.#views();
    } catch (error) {
      return {
        problems: [...problems, `Linux does not mount it: ${error instanceof Error ? error.message : error}`],
        torn,
      };
    }
    problems.push(...this.#slotProblems(views), ...this.#recordProblems(views));
    problems.push(...await this.#linuxProblems(views.recovery, last), ...this.#grubProblems(read, last));
    const mixed = this.#mixed(read, views.recovery);
    if (mixed.byName !== undefined) {
      // The mounts have replayed the journals: the next boot must find one image.
      const next = this.#mixed(await this.#grub.image(file, this.#file), views.recovery);
      if (next.byName !== undefined) problems.push(`${mixed.byName}; and the next boot is not right`);
    }
    problems.push(...await this.#rerunProblems(views));
    return { problems: [...new Set(problems)], mixed: mixed.byUuid, mixedOld: mixed.byName, torn };
  }

  async #views(): Promise<Views> {
    const view = (name: typeof PARTITIONS[number]) => linuxView(this.#devices[name], this.#options.filesystem);
    return { state: await view("state"), recovery: await view("recovery") };
  }

  /** An image of that content, if it is one of the two. */
  #known(is: (image: KnownImage) => boolean): KnownImage | undefined {
    const { before, after } = this.#options.recovery;
    return [before, after].find((image) => image !== undefined && is(image));
  }

  #slotProblems({ state }: Views): string[] {
    const print = SLOTS.map((slot) => {
      const { ino, digest, label } = state.get(`${slot}.img`) ?? {};
      return `${ino} ${digest} ${label}`;
    }).join();
    this.#slots ??= print;
    return print === this.#slots ? [] : ["a system in the slots has changed"];
  }

  /** Both copies are whole; none knows a recovery system that is not there. */
  #recordProblems({ state, recovery }: Views): string[] {
    const { file, after } = this.#options.recovery, problems: string[] = [];
    const isNew = recovery.get(file)?.digest === after.digest;
    for (const [name, { [name]: files }] of PARTITIONS.map((name) => [name, { state, recovery }] as const)) {
      const found = files.get("state.json");
      if (found === undefined) {
        if (name === "state") problems.push("the record is gone");
        continue;
      }
      const record = parseRecord(found.content.pieces[0]?.bytes ?? new Uint8Array());
      if (record === undefined) problems.push(`the record on the ${name} partition is damaged`);
      else if (record.recovery?.source.endsWith(`:${after.name}`) === true && !isNew) {
        problems.push(`the record on the ${name} partition is ahead of the recovery system`);
      }
    }
    return problems;
  }

  async #linuxProblems(files: LinuxFiles, last: boolean): Promise<string[]> {
    const { recovery: { file, before, after } } = this.#options, found = files.get(file), problems: string[] = [];
    const allowed = last ? [file, "state.json"] : [
      ...[file, file.replace(".", "-new."), file.replace(".", "-old."), "transition.img"],
      ...["state.json", "state.json.new"],
    ];
    const more = [...files.keys()].filter((name) => !allowed.includes(name));
    problems.push(...more.map((name) => `there is ${name}`));
    if (found === undefined) {
      if (before !== undefined || last) problems.push(`Linux finds no ${file}`);
      return problems;
    }
    const known = this.#known(({ digest }) => digest === found.digest);
    if (known === undefined) problems.push(`Linux finds a damaged ${file}`);
    else if (last && known !== after) problems.push(`${file} is still the old one, though the operation has ended`);
    return [...problems, ...await this.#imageProblems(files)];
  }

  /** A squashfs has its bytes alone to show. */
  async #imageProblems(files: LinuxFiles): Promise<string[]> {
    const { recovery: { file } } = this.#options, found = files.get(file);
    if (found === undefined || !file.endsWith(".img")) return [];
    const problems = await this.#images.problems(found);
    return found.label === USUAL_LABELS.system ? problems : [...problems, `${file} is labelled ${found.label}`];
  }

  #grubProblems({ boot }: GrubImage, last: boolean): string[] {
    const { file, before, after } = this.#options.recovery;
    if (boot === "none") return before !== undefined || last ? [`GRUB finds no ${file}`] : [];
    const known = this.#known((image) => image.boot === boot);
    if (known === undefined) return [`GRUB finds a damaged ${file}`];
    return last && known !== after ? [`GRUB finds the old ${file}, though the operation has ended`] : [];
  }

  /** GRUB's kernel and Linux's root are of two images: by the name alone, or by the UUID that GRUB passes on, too. */
  #mixed({ boot, uuid }: GrubImage, files: LinuxFiles): { byName?: string; byUuid?: string } {
    const { file } = this.#options.recovery, kernel = this.#known((image) => image.boot === boot);
    const root = this.#known(({ digest }) => digest === files.get(file)?.digest);
    if (kernel === undefined || root === undefined || kernel === root) return {};
    const byName = `the kernel of ${kernel.name}, the root of ${root.name}`;
    // Its root is left to dracut, which knows names only.
    if (!file.endsWith(".img")) return { byName };
    const images = [...files].filter(([name]) => name.endsWith(".img"));
    const all = images.map(([name, { ino, uuid }]) => ({ file: `/cOS/${name}`, ino, uuid }));
    const [first] = rootCandidates({ uuid, file: `/cOS/${file}`, counted: false }, all);
    const chosen = images.find(([, { ino }]) => ino === first?.ino)?.[1];
    return { byName, ...chosen?.digest !== kernel.digest && { byUuid: byName } };
  }

  async #rerunProblems(views: Views): Promise<string[]> {
    const print = PARTITIONS.map((name) => fingerprint(views[name])).join();
    const known = this.#reruns.get(print) ?? await this.#rerun([...views.recovery.keys()]);
    this.#reruns.set(print, known);
    return known;
  }

  async #rerun(from: string[]): Promise<string[]> {
    this.repair.tried++;
    const { cos, again, filesystem, recovery: { file, after } } = this.#options;
    const { status, err } = await runProgram(cos, [...again, "--state", this.#devices.state]);
    const problems = status === 0 ? [] : [`cos ends with ${status}: ${err.trim().split("\n")[0]}`];
    const views = await this.#views(), names = [...views.recovery.keys()].join(" ");
    if (names !== `${file} state.json`) problems.push(`there is ${names}`);
    problems.push(...this.#slotProblems(views), ...await this.#imageProblems(views.recovery));
    // Another run makes another image, with the same files in it.
    const { boot } = await this.#grub.image(file, this.#file);
    if (boot !== after.boot) problems.push(`GRUB finds another ${file} than it was made from`);
    for (const name of PARTITIONS) problems.push(...await filesystemProblems(this.#devices[name], filesystem));
    return problems.map((problem) => `after another run ${problem} (from ${from.join(" ")})`);
  }
}
