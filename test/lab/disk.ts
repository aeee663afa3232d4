/**
 * A lab disk: a sparse file with the partitions of a real machine, on a loop device of its own. Nothing here touches a
 * device that it did not attach itself.
 */
import { existsSync, readFileSync, rmSync, statSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { disposable, scratchDirectory } from "./cleanup.ts";
import { run } from "./run.ts";

/** Debian packages that a lab disk needs; XFS and btrfs need one more each. */
export const DISK_PACKAGES = ["e2fsprogs", "gdisk", "mount", "util-linux"];
export const FILESYSTEM_PACKAGES = { ext4: [], xfs: ["xfsprogs"], btrfs: ["btrfs-progs"] };

export type StateFilesystem = keyof typeof FILESYSTEM_PACKAGES;

export interface DiskOptions {
  /** MiB. Default: 2048. */
  stateMiB?: number;
  /** MiB. Default: 256. */
  recoveryMiB?: number;
  /** Default: ext4. */
  stateFilesystem?: StateFilesystem;
  /** With the partitions that GRUB needs, for both kinds of firmware. */
  bootable?: boolean;
  /** Where the file of the disk lies. Default: a scratch directory. */
  directory?: string;
}

export interface LabDisk extends AsyncDisposable {
  /** The file that is the disk. */
  path: string;
  /** The loop device, `/dev/loopN`. */
  device: string;
  /** The partitions' devices, by GPT name. */
  partitions: Record<PartitionName, string>;
  /** Detaches the loop device and removes the file. */
  close(): Promise<void>;
}

export type PartitionName = "oem" | "state" | "recovery" | "persistent";
/** Of a bootable disk, in their order on it. */
const BOOT_PARTITIONS = ["bios", "efi"] as const;
const PARTITIONS = ["oem", "state", "recovery", "persistent"] as const satisfies PartitionName[];

const MIB = 1 << 20;

/** ext4 as the family makes it: the two newer features keep older GRUBs from reading it. */
const EXT4 = ["-t", "ext4", "-q", "-F", "-O", "^metadata_csum_seed,^orphan_file", "-E", "lazy_itable_init=0"];

export async function createDisk(options: DiskOptions = {}): Promise<LabDisk> {
  await using made = new AsyncDisposableStack();
  const directory = options.directory ?? made.use(scratchDirectory("disk")).path;
  const path = join(directory, "disk.raw");
  made.use(disposable(() => rmSync(path, { force: true })));
  await partition(path, options);
  const { device, partitions } = made.use(await openDisk(path, options.bootable));
  for (const name of PARTITIONS) {
    const type = name === "state" ? options.stateFilesystem ?? "ext4" : "ext4";
    await makeFilesystem(partitions[name], `COS_${name.toUpperCase()}`, type);
  }
  if (partitions.efi !== undefined) await run("mkfs.vfat", ["-n", "COS_GRUB", partitions.efi]);
  const kept = made.move();
  const close = () => kept.disposeAsync();
  return { path, device, partitions, close, [Symbol.asyncDispose]: close };
}

/** Makes the file with its table. */
async function partition(path: string, { bootable, stateMiB = 2048, recoveryMiB = 256 }: DiskOptions): Promise<void> {
  const sizes = { bios: 1, efi: 64, oem: 64, state: stateMiB, recovery: recoveryMiB, persistent: 64 };
  const types: Record<string, string> = { bios: "ef02", efi: "ef00" };
  const names = bootable === true ? [...BOOT_PARTITIONS, ...PARTITIONS] : PARTITIONS;
  writeFileSync(path, "");
  // 1 MiB before the first partition, 1 MiB for the second copy of the table.
  truncateSync(path, (names.reduce((sum, name) => sum + sizes[name], 0) + 2) * MIB);
  await run("sgdisk", [
    "-o",
    ...names.flatMap((name, i) => {
      const n = i + 1;
      return ["-n", `${n}:0:+${sizes[name]}M`, "-c", `${n}:${name}`, "-t", `${n}:${types[name] ?? "8300"}`];
    }),
    path,
  ]);
}

/** A disk's file on a loop device. */
export interface OpenDisk extends AsyncDisposable {
  device: string;
  partitions: Record<PartitionName, string> & { efi?: string };
}

/** Attaches a disk that `createDisk` made. */
export async function openDisk(path: string, bootable = false): Promise<OpenDisk> {
  await using made = new AsyncDisposableStack();
  const loop = made.use(await attach(path, ["--partscan"]));
  const names = bootable ? [...BOOT_PARTITIONS, ...PARTITIONS] : PARTITIONS;
  const { partitions } = made.use(await openPartitions(loop.device, names));
  const kept = made.move();
  const close = () => kept.disposeAsync();
  return { device: loop.device, partitions, [Symbol.asyncDispose]: close };
}

export interface OpenPartitions<Name extends string> extends AsyncDisposable {
  partitions: Record<Name, string>;
}

/** The partitions of a loop device that was attached with `--partscan`, by the names that are given to them in their order. */
export async function openPartitions<Name extends string>(
  device: string,
  names: readonly Name[],
): Promise<OpenPartitions<Name>> {
  await using made = new AsyncDisposableStack();
  // A kernel without GPT support (CONFIG_EFI_PARTITION) finds no partition itself; partx reads the table and tells it.
  await run("partx", ["--update", device]);
  const partitions = {} as Record<Name, string>;
  for (const [i, name] of names.entries()) {
    const partition = `${device}p${i + 1}`;
    const ownNode = await ensureNode(partition);
    if (ownNode) made.use(disposable(() => unlinkSync(partition)));
    partitions[name] = partition;
  }
  const kept = made.move();
  return { partitions, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** @param options more words for the tool that makes it. */
export async function makeFilesystem(
  device: string,
  label: string,
  type: StateFilesystem,
  options: string[] = [],
): Promise<void> {
  switch (type) {
    case "ext4":
      await run("mke2fs", [...EXT4, ...options, "-L", label, device]);
      return;
    case "xfs":
      await run("mkfs.xfs", ["-q", "-f", ...options, "-L", label, device]);
      return;
    case "btrfs":
      await run("mkfs.btrfs", ["-q", "-f", ...options, "-L", label, device]);
      return;
  }
}

export interface Attached extends AsyncDisposable {
  device: string;
  close(): Promise<void>;
}

/** Attaches a file to a free loop device. The caller owns the device until `close`. */
export async function attach(path: string, options: string[] = []): Promise<Attached> {
  let device: string | undefined;
  // Made before the device: a signal between losetup's success and its answer must not leave one behind.
  const { close } = disposable(async () => {
    const own = device === undefined ? await attachedTo(path) : [device];
    for (const one of own) await run("losetup", ["--detach", one], { undoing: true });
  });
  try {
    device = (await run("losetup", ["--find", "--show", ...options, path])).trim();
    await ensureNode(device);
  } catch (error) {
    await close();
    throw error;
  }
  return { device, close, [Symbol.asyncDispose]: close };
}

async function attachedTo(path: string): Promise<string[]> {
  const list = await run("losetup", ["--list", "--noheadings", "--output", "NAME", "--associated", path], {
    undoing: true,
  });
  return list.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

/**
 * Makes the node of a loop device or of its partition where nobody does (a container's /dev is no devtmpfs). True if
 * the node is ours to remove.
 */
async function ensureNode(device: string): Promise<boolean> {
  const name = basename(device);
  const disk = name.replace(/(\d)p\d+$/, "$1");
  const sys = name === disk ? `/sys/block/${disk}/dev` : `/sys/block/${disk}/${name}/dev`;
  if (!existsSync(sys)) throw new Error(`Cannot find ${device}: the kernel has no ${sys}`);
  const numbers = readFileSync(sys, "utf8").trim();
  const [major = 0, minor = 0] = numbers.split(":").map(Number);
  if (existsSync(device)) {
    // Linux keeps a device number of 12 + 20 bits in the order that mknod(1)'s stat shows: compare both halves.
    const rdev = statSync(device).rdev;
    const found = `${(rdev >> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`;
    if (found === numbers) return false;
    unlinkSync(device);
  }
  await run("mknod", ["-m", "0660", device, "b", String(major), String(minor)]);
  return true;
}

export interface Mounted extends AsyncDisposable {
  /** Where it is mounted. */
  path: string;
  close(): Promise<void>;
}

/** Mounts a device in a scratch directory; read-only unless told otherwise. */
export async function mount(device: string, options = "ro"): Promise<Mounted> {
  await using made = new AsyncDisposableStack();
  const { path } = made.use(scratchDirectory("mount"));
  let mounted = false;
  // Made before the mount, as in `attach`.
  made.use(disposable(async () => {
    if (mounted || isMountPoint(path)) await run("umount", [path], { undoing: true });
  }));
  await mountWhenFree(["-o", options, device, path]);
  mounted = true;
  const kept = made.move();
  const close = () => kept.disposeAsync();
  return { path, close, [Symbol.asyncDispose]: close };
}

/**
 * A program that has ended can leave a mount behind for a moment: the kernel gives up the file below a loop device, and with it
 * the filesystem that the file lies on, after the last of its users is gone, which may be somebody who only looks at all devices.
 */
async function mountWhenFree(words: string[]): Promise<void> {
  for (let left = 200;; left--) {
    try {
      await run("mount", words);
      return;
    } catch (thrown) {
      if (left === 0 || !(thrown instanceof Error) || !thrown.message.includes("already mounted or mount point busy")) {
        throw thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export function isMountPoint(path: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8").split("\n").some((line) => line.split(" ")[4] === path);
}

/** Mounts a filesystem image read-only, on a loop device of its own. */
export async function mountImage(image: string): Promise<Mounted> {
  await using made = new AsyncDisposableStack();
  const { device } = made.use(await attach(image, ["--read-only"]));
  const { path } = made.use(await mount(device));
  const kept = made.move();
  const close = () => kept.disposeAsync();
  return { path, close, [Symbol.asyncDispose]: close };
}

/** Destroys the beginning of an image, 256 KiB of it: no filesystem is found in it any more. */
export async function damage(image: string): Promise<void> {
  await run("dd", ["if=/dev/zero", `of=${image}`, "bs=64k", "count=4", "conv=notrunc"]);
}

/** The label of an ext2/3/4 image, read from its superblock: bytes 1144 to 1160. */
export function imageLabel(image: string): string {
  const label = new Uint8Array(16);
  using file = Deno.openSync(image);
  file.seekSync(1144, Deno.SeekMode.Start);
  file.readSync(label);
  const end = label.indexOf(0);
  return new TextDecoder().decode(label.subarray(0, end < 0 ? 16 : end));
}
