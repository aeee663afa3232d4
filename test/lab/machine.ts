/** A lab machine: a disk, the static file to work on it, and independent looks at what it left. */
import { join } from "node:path";
import { scratchDirectory, usualUmask } from "./cleanup.ts";
import { createDisk, type DiskOptions, imageLabel, type LabDisk, mount, mountImage } from "./disk.ts";
import { staticFile } from "./static-file.ts";

export interface Ran {
  status: number;
  out: string;
  err: string;
}

export interface LabMachine extends AsyncDisposable {
  disk: LabDisk;
  /** The state partition's device. */
  state: string;
  /** A scratch directory. */
  directory: string;
  /** Runs `cos WORDS… --state STATE`. */
  cos(...words: string[]): Promise<Ran>;
  /** Runs it and throws where it does not end with 0. */
  must(...words: string[]): Promise<Ran>;
  /** What the slots hold, read without the program: the version out of each image, label, inode. */
  slots(): Promise<Record<string, SlotFound>>;
}

export interface SlotFound {
  version: string;
  label: string;
  ino: number;
}

const decoder = new TextDecoder();

export async function runProgram(program: string, args: string[], env: Record<string, string> = {}): Promise<Ran> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env, stdin: "null" }).output();
  return { status: code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

export async function labMachine(options: DiskOptions = {}): Promise<LabMachine> {
  usualUmask();
  await using made = new AsyncDisposableStack();
  const program = await staticFile();
  const { path: directory } = made.use(scratchDirectory("machine"));
  const disk = made.use(await createDisk(options));
  const { state } = disk.partitions;
  const cos = (...words: string[]) => runProgram(program, [...words, "--state", state]);
  const kept = made.move();
  return {
    disk,
    state,
    directory,
    cos,
    must: async (...words) => {
      const ran = await cos(...words);
      if (ran.status !== 0) throw new Error(`cos ${words.join(" ")} ended with ${ran.status}:\n${ran.err}${ran.out}`);
      return ran;
    },
    slots: () => findSlots(state),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function findSlots(state: string): Promise<Record<string, SlotFound>> {
  await using mounted = await mount(state);
  const found: Record<string, SlotFound> = {};
  const images = join(mounted.path, "cOS");
  for (const { name } of Deno.readDirSync(images)) {
    // What is being written may not even be a filesystem yet.
    if (!name.endsWith(".img") || name === "transition.img") continue;
    const path = join(images, name);
    await using image = await mountImage(path);
    const release = Deno.readTextFileSync(join(image.path, "etc/os-release"));
    found[name.replace(/\.img$/, "")] = {
      version: /^VERSION_ID=(.*)$/m.exec(release)?.[1] ?? "",
      label: imageLabel(path),
      ino: Deno.statSync(path).ino ?? 0,
    };
  }
  return found;
}

/** Loop devices on files of the state partition, and mounts of it and of them: what a run must not leave behind. */
export async function heldBy(state: string): Promise<string[]> {
  const device = async (path: string) => (await runProgram("stat", ["-c", "%Hr:%Lr", path])).out.trim();
  const own = await device(state);
  const { out } = await runProgram("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-MAJ:MIN,BACK-FILE"]);
  const loops = out.split("\n").filter((line) => line.trim().split(/\s+/)[1] === own);
  const devices = new Set([own]);
  for (const line of loops) devices.add(await device(line.trim().split(/\s+/)[0] ?? ""));
  const mounts = Deno.readTextFileSync("/proc/self/mountinfo").split("\n");
  return [...loops, ...mounts.filter((line) => devices.has(line.split(" ")[2] ?? ""))];
}

/** The same of a run that was killed: its last process has ended, and the kernel may not yet have let go of what it held. */
export async function heldByKilled(state: string): Promise<string[]> {
  for (let waited = 0;; waited += 20) {
    const held = await heldBy(state);
    if (held.length === 0 || waited > 10_000) return held;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
