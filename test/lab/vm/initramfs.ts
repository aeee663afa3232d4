/**
 * Initramfs archives as Debian's own tools make them, with the modules of `packaging/`. They are made in this machine's own
 * Debian, changed in memory only (an overlay in a mount namespace of its own), and kept in the cache until the program changes.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { scratchDirectory, untilStopping } from "../cleanup.ts";
import { CACHE, type Kernel } from "../kernels.ts";
import { run } from "../run.ts";

/** Debian packages that making them needs; none of them touches how this machine boots. */
export const INITRAMFS_PACKAGES = ["dracut-core", "e2fsprogs", "initramfs-tools-core", "kmod", "udev", "zstd"];

const HANG = "/etc/initramfs-tools/scripts/init-bottom/hang";
const MAKERS = {
  "initramfs-tools": 'mkinitramfs -o /tmp/initrd "$1"',
  // For any machine, as for an image.
  dracut: 'dracut --force --quiet --no-hostonly --compress "zstd -3" /tmp/initrd "$1"',
  /** One that hangs when it has mounted the root. */
  hangs:
    `printf '#!/bin/sh\\n[ "$1" != prereqs ] || exit 0\\necho "lab: the initramfs hangs"\\nsleep 1000000\\n' > ${HANG}
    chmod 755 ${HANG}
    mkinitramfs -o /tmp/initrd "$1"`,
};

export type InitramfsMaker = keyof typeof MAKERS;

/** All that it mounts ends with its namespace. */
const MAKE = `
kernel=$1 version=$2 cos=$3 output=$4 maker=$5
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root
root=/mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none "$root"
mkdir -p "$root/lib/modules"
cp -a "$kernel/lib/modules/$version" "$root/lib/modules/"
cp "$kernel/boot/config-$version" "$root/boot/"
cp "$cos" "$root/usr/bin/cos"
mount -t proc none "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/tmp"
# What is saved in size is not worth the time here.
echo COMPRESSLEVEL=3 >> "$root/etc/initramfs-tools/initramfs.conf"
chroot "$root" depmod "$version"
chroot "$root" cos boot install --image /
chroot "$root" sh -ec "$maker" sh "$version"
cp "$root/tmp/initrd" "$output"
`;

/** The archive for that kernel. @param program the static file that goes into it. */
export async function debianInitramfs(
  kernel: Kernel,
  program: string,
  maker: InitramfsMaker = "initramfs-tools",
): Promise<Uint8Array> {
  const place = join(CACHE, `initramfs-${maker}-${kernel.version}`), stamp = `${place}.made-of`;
  // The modules of packaging/ are in the program.
  const id = createHash("sha256").update(readFileSync(program)).update(MAKE).update(MAKERS[maker]).digest("hex");
  mkdirSync(CACHE, { recursive: true });
  // Tests and scripts/boots may run at the same time: the first one makes it, the others wait for it.
  using lock = await Deno.open(`${place}.lock`, { write: true, create: true });
  await lock.lock(true);
  if (!existsSync(place) || !existsSync(stamp) || readFileSync(stamp, "utf8") !== id) {
    await using scratch = scratchDirectory("initramfs", CACHE);
    const made = join(scratch.path, basename(place)), tree = dirname(dirname(kernel.vmlinuz));
    await run("unshare", [
      ...["--mount", "--propagation", "private", "sh", "-ec", MAKE, "sh"],
      ...[tree, kernel.version, program, made, MAKERS[maker]],
    ]);
    await untilStopping();
    renameSync(made, place);
    writeFileSync(stamp, id);
  }
  return readFileSync(place);
}
