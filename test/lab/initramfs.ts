/**
 * A real initramfs in small: busybox, the modules that a virtual machine's disk needs, and an init that does what the
 * family's dracut module does (mount COS_STATE, attach the image, mount it read-only as the root).
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Kernel } from "./kernels.ts";
import { type Bytes, bytesOf, concat } from "./tar-writer.ts";

/** In the order in which they are loaded. */
const MODULES = [
  ...["virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev"],
  ...["virtio/virtio_pci", "block/virtio_blk", "block/loop"],
].map((name) => `kernel/drivers/${name}.ko`);

const INIT = `#!/bin/busybox sh
# Finds the system image that the boot entry names, and starts it.
/bin/busybox mkdir -p /dev /proc /sys /run /sysroot
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
fail() { echo "initramfs: $*"; sleep "\${panic:-5}"; echo b > /proc/sysrq-trigger; sleep 60; }
for module in /lib/modules/*.ko; do insmod "$module"; done
image= label=
for word in $(cat /proc/cmdline); do
  case $word in
    cos-img/filename=*) image=\${word#*=} ;;
    root=LABEL=*) label=\${word#root=LABEL=} ;;
    panic=*) panic=\${word#panic=} ;;
  esac
done
tries=0 state=
while [ -z "$state" ] && [ $tries -lt 100 ]; do
  state=$(findfs LABEL=COS_STATE 2>/dev/null)
  [ -n "$state" ] || sleep 0.1
  tries=$((tries + 1))
done
[ -n "$state" ] || fail "no partition labelled COS_STATE"
mkdir -p /run/initramfs/cos-state
mount -o ro "$state" /run/initramfs/cos-state || fail "cannot mount $state"
loop=$(losetup -f)
losetup -r "$loop" "/run/initramfs/cos-state$image" || fail "cannot attach $image"
case $label in
  ''|COS_STATE) ;;
  *) [ "$(findfs LABEL="$label")" = "$loop" ] || fail "$image is not labelled $label" ;;
esac
mount -t ext4 -o ro "$loop" /sysroot || fail "cannot mount $image"
for directory in run dev sys proc; do mount -o move "/$directory" "/sysroot/$directory"; done
exec switch_root /sysroot /sbin/init
`;

/** gzipped, in the format that the kernel unpacks. The same input gives the same bytes. */
export function makeInitramfs(kernel: Kernel, busybox: Uint8Array): Uint8Array {
  const modules = MODULES.map((name) => join(kernel.modules, name)).filter((path) => existsSync(path));
  const entries: CpioEntry[] = [
    ...["bin", "dev", "lib", "lib/modules", "proc", "run", "sys", "sysroot"].map((name) => ({ name, mode: 0o040755 })),
    { name: "bin/busybox", mode: 0o100755, content: busybox },
    { name: "bin/sh", mode: 0o120777, content: "busybox" },
    // The kernel opens it for init before anything mounts /dev.
    { name: "dev/console", mode: 0o020600, device: [5, 1] },
    { name: "init", mode: 0o100755, content: INIT },
    ...modules.map((path, i) => ({
      name: `lib/modules/${String(i).padStart(2, "0")}-${basename(path)}`,
      mode: 0o100644,
      content: readFileSync(path),
    })),
  ];
  return gzipSync(cpio(entries), { level: 1 });
}

interface CpioEntry {
  name: string;
  mode: number;
  content?: Bytes;
  device?: [major: number, minor: number];
}

/** The "new ASCII" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). */
function cpio(entries: CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const add = (bytes: Uint8Array) => {
    const padding = (4 - (length + bytes.length) % 4) % 4;
    parts.push(bytes, new Uint8Array(padding));
    length += bytes.length + padding;
  };
  for (const [i, entry] of [...entries, { name: "TRAILER!!!", mode: 0 } as CpioEntry].entries()) {
    const content = bytesOf(entry.content ?? "");
    const name = bytesOf(`${entry.name}\0`);
    const [major, minor] = entry.device ?? [0, 0];
    const inode = i + 1, links = 1, mtime = 0, checksum = 0;
    const fields = [inode, entry.mode, 0, 0, links, mtime, content.length, 0, 0, major, minor, name.length, checksum];
    const header = `070701${fields.map((n) => n.toString(16).padStart(8, "0")).join("")}`;
    add(concat([bytesOf(header), name]));
    add(content);
  }
  return concat(parts);
}
