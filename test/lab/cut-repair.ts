/** What `cos repair` makes of a state that a power cut has left: one consistent machine, whatever it was. */
import { createHash } from "node:crypto";
import { LABELS, type MachineKind } from "./cut-boots.ts";
import { type Keeping, KEPT_FILE, keptProblems, NOTHING_KEPT } from "./cut-keeping.ts";
import type { StateFilesystem } from "./disk.ts";
import { type LinuxFiles, linuxView, SLOTS } from "./disk-views.ts";
import type { GrubReader } from "./grub-reader.ts";
import type { ImageChecks } from "./image-checks.ts";
import { runProgram } from "./machine.ts";
import type { Cut } from "./power-cuts.ts";

export interface RepairOptions extends MachineKind {
  cos: string;
  filesystem: StateFilesystem;
  again: string[];
  /** The disk, as a file, and as a loop device on it. */
  file: string;
  device: string;
  grub: GrubReader;
  checks: ImageChecks;
  keeping?: Keeping;
}

type Moment = Pick<Cut, "ended" | "last">;

/** How each filesystem is asked whether it is whole. */
const CHECKS: Record<StateFilesystem, [string, ...string[]]> = {
  ext4: ["e2fsck", "-fn"],
  xfs: ["xfs_repair", "-n"],
  btrfs: ["btrfs", "check", "--readonly"],
};

/** What its own tool finds wrong with the filesystem on a device that is not mounted. */
export async function filesystemProblems(device: string, filesystem: StateFilesystem): Promise<string[]> {
  const [program, ...words] = CHECKS[filesystem], { status, out } = await runProgram(program, [...words, device]);
  return status === 0 ? [] : [`${program} says: ${out.trim()}`];
}

export class CutRepair {
  /** Distinct states that a repair was tried in. */
  tried = 0;
  readonly #options: RepairOptions;
  readonly #found = new Map<string, string[]>();

  constructor(options: RepairOptions) {
    this.#options = options;
  }

  /** @param linux what the mount has left, which is on the disk by now. */
  async problems(linux: LinuxFiles, moment: Moment): Promise<string[]> {
    const print = `${fingerprint(linux)} ${moment.ended} ${moment.last}`;
    const known = this.#found.get(print) ?? await this.#try(linux, moment);
    this.#found.set(print, known);
    return known;
  }

  async #try(linux: LinuxFiles, moment: Moment): Promise<string[]> {
    this.tried++;
    const { cos, again, device, filesystem, file, images, grub, keeping = NOTHING_KEPT } = this.#options;
    const problems: string[] = [];
    const ask = async (words: string[]) => {
      const { status, err } = await runProgram(cos, [...words, "--state", device]);
      if (status !== 0) problems.push(`cos ${words[0]} ended with ${status}: ${err.trim().split("\n")[0]}`);
    };
    const empty = SLOTS.every((slot) => !linux.has(`${slot}.img`));
    if (empty && !moment.last) await ask(again);
    else await ask(["repair"]);
    const after = await linuxView(device, filesystem);
    await ask(["repair"]);
    const twice = await linuxView(device, filesystem);
    if (fingerprint(after, true) !== fingerprint(twice, true)) problems.push("a second repair changes something");
    problems.push(...await this.#consistent(after, empty));
    const kept = keptProblems(after, images, keeping, moment);
    problems.push(...kept.map((problem) => `after the repair ${problem}`));
    const read = await grub.view(file);
    for (const slot of SLOTS) {
      const boot = images.find(({ digest }) => digest === after.get(`${slot}.img`)?.digest)?.boot;
      if (!empty && boot !== read[slot].boot) problems.push(`after the repair GRUB does not find what ${slot}.img is`);
    }
    const wrong = await filesystemProblems(device, filesystem);
    problems.push(...wrong.map((problem) => `after the repair ${problem}`));
    return problems.map((problem) => `${problem} (repaired from ${[...linux.keys()].join(" ")})`);
  }

  async #consistent(files: LinuxFiles, redone: boolean): Promise<string[]> {
    const problems: string[] = [], { images, checks } = this.#options;
    for (const name of files.keys()) {
      if (!/^(active|passive)\.img$|^state\.json$/.test(name) && !KEPT_FILE.test(name)) {
        problems.push(`after the repair there is ${name}`);
      }
    }
    const one = files.get("active.img")?.ino === files.get("passive.img")?.ino;
    for (const slot of SLOTS) {
      const file = files.get(`${slot}.img`);
      if (file === undefined) {
        problems.push(`after the repair there is no ${slot}.img`);
        continue;
      }
      // One that was installed anew has another UUID.
      if (!redone && !images.some(({ digest }) => digest === file.digest)) {
        problems.push(`after the repair ${slot}.img is damaged`);
      }
      for (const what of await checks.problems(file)) {
        problems.push(`after the repair ${slot}.img: ${what}`);
      }
      const wanted = one ? LABELS.active : LABELS[slot];
      if (file.label !== wanted) problems.push(`after the repair ${slot}.img is ${file.label}`);
    }
    return problems;
  }
}

/** Of all that a repair goes by: what is half written counts as a name only. */
export function fingerprint(files: LinuxFiles, exact = false): string {
  const inodes = [...new Set([...files.values()].map(({ ino }) => ino))];
  const lines = [...files].map(([name, { ino, digest, label }]) => {
    const partial = !exact && /^(transition\.img|recovery-new\..*|state\.json\.new)$/.test(name);
    return `${name} ${partial ? "" : `${inodes.indexOf(ino)} ${digest} ${label}`}`;
  });
  return createHash("sha1").update(lines.join("\n")).digest("hex");
}
