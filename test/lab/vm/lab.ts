/** What all scenarios share: a registry on this host with the systems, and disks on which a first one is installed. */
import { join } from "node:path";
import { scratchDirectory } from "../cleanup.ts";
import { createDisk, DISK_PACKAGES } from "../disk.ts";
import { type Registry, REGISTRY_PACKAGES, startRegistry } from "../registry.ts";
import { run } from "../run.ts";
import { staticFile } from "../static-file.ts";
import { GRUB_PACKAGES, installGrub } from "./grub.ts";
import { VM_IMAGE_PACKAGES, type VmTag, writeVmImages } from "./images.ts";
import { vmMachine } from "./machine.ts";
import { QEMU_PACKAGES } from "./qemu.ts";

export const VM_PACKAGES = [
  ...new Set([...DISK_PACKAGES, ...REGISTRY_PACKAGES, ...GRUB_PACKAGES, ...QEMU_PACKAGES, ...VM_IMAGE_PACKAGES]),
];

export interface VmLab {
  /** A tag's reference, as the guests and `cos` on this host see it. */
  reference(tag: VmTag, seenFrom: "guest" | "host"): string;
  /** `uname -r` */
  kernels: Record<"v1" | "v2", string>;
  /** A copy of the disk on which v1 is installed, at that path. */
  copyDisk(to: string): Promise<void>;
  /** The static file. */
  program: string;
}

const SIZES = { stateMiB: 4096, recoveryMiB: 1024, bootable: true };

/**
 * @param needs the systems that are wanted besides v1.
 * @param proven the installed system has come up once, and is known to be good.
 */
export async function vmLab(needs: Iterable<VmTag>, proven = true): Promise<VmLab & AsyncDisposable> {
  const tags: readonly VmTag[] = ["v1", ...needs];
  await using made = new AsyncDisposableStack();
  const program = await staticFile();
  const { path: directory } = made.use(scratchDirectory("boots"));
  const { layout, kernels } = await writeVmImages(join(directory, "layout"), program, tags);
  const registry = made.use(await startRegistry());
  for (const tag of tags) await registry.push(layout, tag, `lab/os:${tag}`);
  const installed = join(directory, "installed.raw");
  await install(program, registry, installed);
  const lab: VmLab = {
    reference: (tag, from) => `${from === "guest" ? `10.0.2.2:${registry.port}` : registry.host}/lab/os:${tag}`,
    kernels,
    copyDisk: async (to) => void await run("cp", ["--sparse=always", installed, to]),
    program,
  };
  if (proven) await firstBoot(lab, installed);
  const kept = made.move();
  return { ...lab, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The installed system comes up, and says that it is good. */
async function firstBoot(lab: VmLab, disk: string): Promise<void> {
  await using scratch = scratchDirectory("vm");
  const machine = await vmMachine(lab, "bios", scratch.path);
  {
    await using guest = await machine.boot();
    await guest.reboot();
  }
  await Deno.rename(machine.disk, disk);
}

/** As an installer does it: partitions, GRUB, the first system, GRUB's parts of `cos`. */
async function install(program: string, registry: Registry, to: string): Promise<void> {
  await using disk = await createDisk(SIZES);
  await installGrub(disk);
  const cos = async (...words: string[]) => void await run(program, [...words, "--state", disk.partitions.state]);
  await cos("deploy", `${registry.host}/lab/os:v1`, "--no-verify");
  await cos("boot", "install");
  // The disk goes away with its name.
  await Deno.link(disk.path, to);
}
