/** Finding the partition that holds the system images, and opening it. Nothing is changed here, and no mount point is needed. */
import { type ByteString, byteStringOf } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { USUAL_LABELS } from "../base/labels.ts";
import { type Mount, parseMountInfo } from "../formats/mountinfo.ts";
import {
  AT_FDCWD,
  BTRFS_MAGIC,
  EXT4_MAGIC,
  type FileStatus,
  hasErrno,
  isDirectory,
  type Kernel,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  O_DIRECTORY,
  O_RDONLY,
  S_IFBLK,
  S_IFMT,
  XFS_MAGIC,
} from "../system/kernel.ts";
import type { System } from "../system/system.ts";
import { blockDeviceName, diskOf, labelled, labelOf, probe } from "./block-devices.ts";
import { readTextFile } from "./files.ts";

/** Where an initramfs of this family mounts the partition that holds the root's image. */
export const INITRAMFS_STATE = "/run/initramfs/cos-state";
/** Where the two older generations mount it: the initramfs, `elemental`, the shell tools in recovery. */
const MOUNT_POINTS = [INITRAMFS_STATE, "/run/cos/state", "/run/initramfs/state"];
const MOUNT_ATTRIBUTES = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

export interface StatePartition extends Disposable {
  /** Its top directory. */
  fd: number;
  /** As people know it: the block device, or the directory that was given. */
  name: string;
  /** `sda3`; undefined where a directory was given that is no mount of its own. */
  blockDevice?: string;
  /** The magic number of its filesystem. */
  type: number;
  /** Where it is mounted for all to see; undefined where it is mounted only for this process. */
  mountPoint?: string;
  /** Of the mount that was found. */
  mountOptions: readonly string[];
  /** The mount that was found is read-only; writing needs a remount first. */
  readOnly: boolean;
}

/** What a recovery system may be called, below `cOS/`. */
export const RECOVERY_FILES = ["recovery.img", "recovery.squashfs"] as const;

type Machine = Pick<System, "kernel" | "labels">;

/**
 * @param given `--state`: a block device or a directory.
 * @param write the partition will be written; only tells how one that is not mounted is mounted.
 * Throws `NOT_IMAGE_BASED`, `AMBIGUOUS_STATE`, `UNSUPPORTED_FILESYSTEM`, `NEWER_GENERATION`.
 */
export function openStatePartition(system: Machine, given: string | undefined, write: boolean): StatePartition {
  const { kernel } = system;
  const partition = given === undefined ? findByLabel(system, write) : openGiven(kernel, given, write);
  try {
    checkFilesystem(partition);
    checkGeneration(kernel, partition);
  } catch (thrown) {
    partition[Symbol.dispose]();
    throw thrown;
  }
  return partition;
}

function openGiven(kernel: Kernel, given: string, write: boolean): StatePartition {
  const path = byteStringOf(given);
  let status: FileStatus;
  try {
    status = kernel.statat(AT_FDCWD, path, true);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT", "ENOTDIR")) throw cause;
    throw new CosError("NOT_IMAGE_BASED", `Cannot use ${given} as the state partition: it does not exist.`, {
      hint: "Give --state the partition's block device, or the directory where it is mounted.",
      cause,
    });
  }
  if ((status.mode & S_IFMT) === S_IFBLK) {
    return openDevice(kernel, given, `${status.rdevMajor}:${status.rdevMinor}`, write);
  }
  if (!isDirectory(status)) {
    throw new CosError(
      "NOT_IMAGE_BASED",
      `Cannot use ${given} as the state partition: it is neither a block device nor a directory.`,
      {
        hint: "Give --state the partition's block device, or the directory where it is mounted.",
      },
    );
  }
  const mount = mounts().find((m) => m.mountPoint === Deno.realPathSync(given));
  return openMounted(kernel, given, given, mount);
}

/** A device that is mounted already is used where it is: a second mount could not differ in being read-only. */
function openDevice(kernel: Kernel, name: string, device: string, write: boolean): StatePartition {
  const all = mounts().filter((m) => m.root === "/" && deviceOf(kernel, m) === device);
  // Where one of several can be written, nothing needs to be remounted.
  const mount = all.find((m) => !isReadOnly(m)) ?? all[0];
  if (mount !== undefined) return openMounted(kernel, mount.mountPoint, name, mount);
  const type = probe(kernel, byteStringOf(name))?.type;
  if (type === undefined) {
    throw new CosError(
      "UNSUPPORTED_FILESYSTEM",
      `Cannot use ${name} as the state partition: it holds no ext4, XFS or btrfs.`,
      {
        hint: "Give --state the partition that holds cOS/active.img.",
      },
    );
  }
  return detached(kernel, name, device, type, write);
}

function openMounted(kernel: Kernel, directory: string, name: string, mount: Mount | undefined): StatePartition {
  const fd = kernel.openat(AT_FDCWD, byteStringOf(directory), O_RDONLY | O_DIRECTORY);
  return {
    fd,
    name,
    blockDevice: mount === undefined ? undefined : blockDeviceName(deviceOf(kernel, mount)),
    type: kernel.fstatfs(fd).type,
    mountPoint: mount?.mountPoint,
    mountOptions: mount?.options ?? [],
    readOnly: mount !== undefined && isReadOnly(mount),
    [Symbol.dispose]: () => kernel.close(fd),
  };
}

/** `major:minor` of the device below a mount. Those that btrfs tells are no device's: there it is what was mounted. */
function deviceOf(kernel: Kernel, { device, type, source }: Mount): string {
  if (type !== "btrfs") return device;
  try {
    const { mode, rdevMajor, rdevMinor } = kernel.statat(AT_FDCWD, byteStringOf(source), true);
    return (mode & S_IFMT) === S_IFBLK ? `${rdevMajor}:${rdevMinor}` : device;
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return device;
    throw thrown;
  }
}

/** The same filesystem may be mounted elsewhere, in another container for one: all its mounts share whether it can be written. */
function mountState(kernel: Kernel, name: string, type: string, write: boolean): number {
  const source = byteStringOf(name);
  try {
    return kernel.mountDetached(type, source, { readOnly: !write, attributes: MOUNT_ATTRIBUTES });
  } catch (thrown) {
    if (hasErrno(thrown, "EBUSY") && !write) {
      const attributes = MOUNT_ATTRIBUTES | MOUNT_ATTR_RDONLY;
      return kernel.mountDetached(type, source, { readOnly: false, attributes });
    }
    if (!hasErrno(thrown, "EBUSY", "EACCES", "EROFS")) throw thrown;
    throw new CosError("SYSTEM_CALL", `Cannot mount ${name} for writing: ${thrown.errno}.`, {
      hint: "It is write-protected, or mounted read-only somewhere else: look at lsblk, and unmount it there.",
      cause: thrown,
    });
  }
}

function isReadOnly({ readOnly, superOptions }: Mount): boolean {
  return readOnly || superOptions.includes("ro");
}

function detached(kernel: Kernel, name: string, device: string, type: string, write: boolean): StatePartition {
  const fd = mountState(kernel, name, type, write);
  return {
    fd,
    name,
    blockDevice: blockDeviceName(device),
    type: kernel.fstatfs(fd).type,
    mountOptions: [],
    readOnly: !write,
    [Symbol.dispose]: () => kernel.close(fd),
  };
}

function findByLabel({ kernel, labels }: Machine, write: boolean): StatePartition {
  const all = mounts(), { state, recovery } = { ...USUAL_LABELS, ...labels() };
  for (const place of MOUNT_POINTS) {
    const mount = all.find((m) => m.mountPoint === place && m.root === "/");
    if (mount === undefined || statusAt(`${place}/cOS`)?.isDirectory !== true) continue;
    // In recovery the first of these places is the recovery partition's, whose label the settings there may not know.
    const isRecovery = labelOf(kernel, deviceOf(kernel, mount)) === recovery || holdsRecoveryAlone(place);
    if (!isRecovery) return openMounted(kernel, place, place, mount);
  }
  const found = [...labelled(kernel, state)];
  const [first, second] = found;
  if (first === undefined) {
    throw new CosError(
      "NOT_IMAGE_BASED",
      `Cannot find a state partition: no filesystem here has the label ${state}.`,
      {
        hint:
          "Run it on an image-based system, or name the partition with --state; another label is said as STATE_LABEL in /etc/cos/config.",
      },
    );
  }
  if (second !== undefined) {
    const names = found.map(({ name }) => `/dev/${name}`).sort().join(", ");
    throw new CosError(
      "AMBIGUOUS_STATE",
      `Cannot tell which is the state partition: ${names} all have the label ${state}.`,
      {
        hint: "Name the right one with --state.",
      },
    );
  }
  return openDevice(kernel, `/dev/${first.name}`, first.device, write);
}

function holdsRecoveryAlone(place: string): boolean {
  const isThere = (name: string) => statusAt(`${place}/cOS/${name}`) !== undefined;
  return RECOVERY_FILES.some(isThere) && !["active.img", "passive.img"].some(isThere);
}

/** Each partition that may hold the root's image, by its label, mounted read-only where it is not mounted yet. */
export function* openLabelled(kernel: Kernel, label: string): Generator<{ device: string; open(): StatePartition }> {
  for (const { name, device } of labelled(kernel, label)) {
    yield { device: `/dev/${name}`, open: () => openDevice(kernel, `/dev/${name}`, device, false) };
  }
}

/** Gives a partition that only this process sees a place that all see, read-only. */
export function showAt(kernel: Kernel, { name, type }: StatePartition, path: string): void {
  const filesystem = type === XFS_MAGIC ? "xfs" : type === BTRFS_MAGIC ? "btrfs" : "ext4";
  const options = { readOnly: true, attributes: MOUNT_ATTRIBUTES };
  kernel.mountAt(byteStringOf(path), filesystem, byteStringOf(name), options);
}

/** A sibling of the state partition, on the same disk only: other disks may hold another system. Undefined where there is none. */
export function openSibling(
  kernel: Kernel,
  state: StatePartition,
  label: string,
  write: boolean,
): StatePartition | undefined {
  const disk = state.blockDevice === undefined ? undefined : diskOf(state.blockDevice);
  if (disk === undefined) return undefined;
  for (const { name, device } of labelled(kernel, label)) {
    if (diskOf(name) === disk) return openDevice(kernel, `/dev/${name}`, device, write);
  }
  return undefined;
}

function mounts(): Mount[] {
  return parseMountInfo(readTextFile("/proc/self/mountinfo") ?? "");
}

function statusAt(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return undefined;
    throw thrown;
  }
}

function checkFilesystem({ type, name }: StatePartition): void {
  if (type === EXT4_MAGIC || type === XFS_MAGIC || type === BTRFS_MAGIC) return;
  throw new CosError(
    "UNSUPPORTED_FILESYSTEM",
    `Cannot use ${name} as the state partition: its filesystem is ${filesystemName(type)}.`,
    {
      hint:
        "The state partition must be ext4, XFS or btrfs: only there are the steps of a switch known to survive a power cut.",
    },
  );
}

function filesystemName(type: number): string {
  const names: Record<number, string> = {
    0x01021994: "tmpfs",
    0x4d44: "FAT",
    0x794c7630: "overlayfs",
    0x73717368: "squashfs",
    0xe0f5e1e2: "EROFS",
    0xf2f52010: "F2FS",
    0x2fc12fc1: "ZFS",
    0x6969: "NFS",
    0x65735546: "FUSE",
    0x2011bab0: "exFAT",
    0x5346544e: "NTFS",
    0x9660: "ISO 9660",
  };
  return names[type] ?? `of the unknown type 0x${type.toString(16)}`;
}

/** Snapshots instead of slots mark the third generation (elemental-toolkit 1.2 and later). */
function checkGeneration(kernel: Kernel, { fd, name }: StatePartition): void {
  const hasSnapshots = exists(kernel, fd, ".snapshots");
  if (!hasSnapshots && !/(?:^|\s)elemental\.(?:image|mode)=/.test(readTextFile("/proc/cmdline") ?? "")) return;
  if (!hasSnapshots && exists(kernel, fd, "cOS")) return; // somebody else's kernel, our kind of partition
  throw new CosError(
    "NEWER_GENERATION",
    `Cannot work on ${name}: this system keeps snapshots, not an active and a passive image.`,
    {
      hint: "Use the elemental of that system for it.",
    },
  );
}

function exists(kernel: Kernel, dir: number, name: ByteString): boolean {
  try {
    kernel.statat(dir, name);
    return true;
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT")) return false;
    throw thrown;
  }
}
