/** The block devices of this machine, by what lies on them. No udev is needed: /sys names them, and their first bytes are read. */
import type { ByteString } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { PROBE_SIZE, probeFilesystem } from "../formats/filesystem-label.ts";
import { AT_FDCWD, hasErrno, type Kernel, O_RDONLY } from "../system/kernel.ts";
import { readTextFile } from "./files.ts";

/** Partitions and whole devices whose filesystem has the label, with their number (`8:3`). */
export function* labelled(kernel: Kernel, label: string): Generator<{ name: string; device: string }> {
  for (const name of blockDevices()) {
    const device = readTextFile(`/sys/class/block/${name}/dev`)?.trim();
    // A loop device without partitions that carries the label is an image file of somebody's, not this machine's disk.
    if (device === undefined || /^loop[0-9]+$/.test(name)) continue;
    if (readTextFile(`/sys/class/block/${name}/size`)?.trim() === "0") continue;
    if (probe(kernel, `/dev/${name}`)?.label === label) yield { name, device };
  }
}

function blockDevices(): string[] {
  try {
    return [...Deno.readDirSync("/sys/class/block")].map(({ name }) => name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new CosError("NOT_IMAGE_BASED", "Cannot look for a state partition: /sys is not mounted.", {
      hint: "Mount it (mount -t sysfs sys /sys), or name the partition with --state.",
      cause,
    });
  }
}

export function labelOf(kernel: Kernel, device: string): string | undefined {
  const name = blockDeviceName(device);
  return name === undefined ? undefined : probe(kernel, `/dev/${name}`)?.label;
}

/** What the first bytes of a device say; undefined for a drive without a medium, and one that may not be looked at. */
export function probe(kernel: Kernel, path: ByteString) {
  let fd;
  try {
    fd = kernel.openat(AT_FDCWD, path, O_RDONLY);
  } catch (thrown) {
    // Drives without a medium, nodes that /dev lacks, and devices that a container may not look at.
    if (hasErrno(thrown, "ENOENT", "ENXIO", "ENODEV", "ENOMEDIUM", "EIO", "EBUSY", "EACCES", "EPERM")) return undefined;
    throw thrown;
  }
  try {
    const bytes = new Uint8Array(PROBE_SIZE);
    return probeFilesystem(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
  } catch (thrown) {
    if (hasErrno(thrown, "EIO")) return undefined;
    throw thrown;
  } finally {
    kernel.close(fd);
  }
}

/** `sda3` for `8:3`; undefined for filesystems without a device. */
export function blockDeviceName(device: string): string | undefined {
  try {
    return Deno.readLinkSync(`/sys/dev/block/${device}`).split("/").at(-1);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return undefined;
    throw thrown;
  }
}

/** The disk of a partition, or the device itself. */
export function diskOf(name: string): string {
  const path = Deno.realPathSync(`/sys/class/block/${name}`).split("/");
  const isPartition = readTextFile(`/sys/class/block/${name}/partition`) !== undefined;
  return (isPartition ? path.at(-2) : path.at(-1)) ?? name;
}
