/**
 * Two versions of a small operating system as an OCI layout: a real kernel, a real initramfs, busybox, and every kind of
 * entry that a layer of a real system holds. Version 2 stands on version 1's layers and changes them by upper ones.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { makeInitramfs } from "./initramfs.ts";
import { type Kernel, twoKernels } from "./kernels.ts";
import { type Compression, type ImageSpec, type Layer, packLayer, sha256, writeLayout } from "./oci-layout.ts";
import * as t from "./tar-writer.ts";

/** Debian packages that building the images needs. */
export const OS_IMAGE_PACKAGES = ["busybox-static", "dpkg"];

export interface OsImageOptions {
  /** `mixed`: a plain, a gzip and zstd layers; `gzip`: for peers that do not know zstd. Default: mixed. */
  compression?: "mixed" | "gzip";
}

export interface OsVersion {
  tag: "v1" | "v2";
  /** VERSION_ID in its os-release. */
  version: string;
  /** PRETTY_NAME in its os-release. */
  prettyName: string;
  /** The manifest's. */
  digest: string;
  /** `uname -r` of its kernel, whose file is `/boot/vmlinuz-VERSION`. */
  kernelVersion: string;
  /** Of `/boot/vmlinuz` and `/boot/initrd`, as `sha256:HEX`. */
  kernelDigest: string;
  initrdDigest: string;
  /** Of its layers, as they travel. */
  compressedBytes: number;
}

/** Writes the layout with the tags `v1` and `v2` into `directory`. */
export async function buildOsImages(
  directory: string,
  options: OsImageOptions = {},
): Promise<{ v1: OsVersion; v2: OsVersion }> {
  const systems = await osSystems(options);
  const spec = ({ layers, created, version }: OsSystem): ImageSpec => ({
    layers,
    created,
    labels: { "org.opencontainers.image.version": version },
  });
  const written = writeLayout(directory, { v1: spec(systems.v1), v2: spec(systems.v2) });
  const describe = (tag: "v1" | "v2"): OsVersion => {
    const { version, kernel, initrd, layers } = systems[tag];
    return {
      tag,
      version,
      prettyName: prettyName(version),
      digest: written.find((one) => one.tag === tag)?.descriptor.digest ?? "",
      kernelVersion: kernel.version,
      kernelDigest: sha256(readFileSync(kernel.vmlinuz)),
      initrdDigest: sha256(initrd),
      compressedBytes: layers.reduce((sum, layer) => sum + layer.size, 0),
    };
  };
  return { v1: describe("v1"), v2: describe("v2") };
}

/** What one version is made of; other images may stand on its layers. */
export interface OsSystem {
  /** The lowest first. */
  layers: Layer[];
  /** RFC 3339. */
  created: string;
  version: string;
  kernel: Kernel;
  initrd: Uint8Array;
}

export async function osSystems(options: OsImageOptions = {}): Promise<Record<"v1" | "v2", OsSystem>> {
  const [older, newer] = await twoKernels();
  const busybox = readFileSync("/bin/busybox");
  const initrds = [makeInitramfs(older, busybox), makeInitramfs(newer, busybox)] as const;
  const pack = (items: t.TarItem[], compression: Compression) =>
    packLayer(t.tar(items), options.compression === "gzip" ? "gzip" : compression);

  const lower = [
    pack(baseLayer(busybox), "none"),
    pack(kernelLayer(older, initrds[0], V1_TIME), "gzip"),
    pack(systemLayer("1.0.0"), "zstd-frames"),
  ];
  const upper = [
    pack([...removeKernel(older), ...kernelLayer(newer, initrds[1], V2_TIME)], "zstd-frames"),
    pack(changesLayer("2.0.0"), "gzip-members"),
  ];
  return {
    v1: { layers: lower, created: "2026-01-10T08:00:00Z", version: "1.0.0", kernel: older, initrd: initrds[0] },
    v2: {
      layers: [...lower, ...upper],
      created: "2026-02-10T08:00:00Z",
      version: "2.0.0",
      kernel: newer,
      initrd: initrds[1],
    },
  };
}

const prettyName = (version: string) => `cos demo ${version}`;

/** Seconds of the files' times: fixed, since the layers' digests depend on them. */
const V1_TIME = 1_767_945_600;
const V2_TIME = 1_770_710_400;

const INIT = `#!/bin/sh
# The first program of the demo's system: says which one it is, and gives a shell.
. /etc/os-release
export PATH=/usr/sbin:/usr/bin
mount -t tmpfs tmp /tmp
echo "$PRETTY_NAME is up, on Linux $(uname -r)"
case " $(cat /proc/cmdline) " in *" cos-demo.poweroff "*) poweroff -f ;; esac
exec setsid -c sh
`;

/** `cap_net_raw+ep` as the kernel keeps it (struct vfs_cap_data, revision 2). */
const CAP_NET_RAW = new Uint8Array([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const CAP_NET_ADMIN_RAW = new Uint8Array([1, 0, 0, 2, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** A file name that is no UTF-8, as old archives leave them: "naïve" in Latin-1. */
const LATIN1_NAME = t.concat([t.bytesOf("usr/share/demo/na"), new Uint8Array([0xef]), t.bytesOf("ve")]);
const LONG_NAME = `usr/share/demo/${"a-directory-with-a-long-name/".repeat(8)}file`;

function baseLayer(busybox: Uint8Array): t.TarItem[] {
  const at = { mtime: V1_TIME };
  const directories = [
    ...["boot", "dev", "etc", "etc/cos", "home", "mnt", "oem", "opt", "proc", "run", "sys", "system", "usr"],
    ...["usr/bin", "usr/lib", "usr/lib64", "usr/lib/modules", "usr/local", "usr/sbin", "usr/share", "usr/share/demo"],
    ...["var", "var/cache", "var/cache/demo", "var/lib", "var/log", "var/spool"],
  ];
  const applets = execFileSync("/bin/busybox", ["--list-full"], { encoding: "utf8" }).trim().split("\n")
    .map((path) => path.startsWith("usr/") ? path : `usr/${path}`)
    .filter((path) => /^usr\/s?bin\//.test(path) && !/\/(busybox|init|su|ping)$/.test(path));
  return [
    ...directories.map((name) => t.directory(name, at)),
    t.directory("root", { ...at, mode: 0o700 }),
    t.directory("tmp", { ...at, mode: 0o1777 }),
    t.directory("var/tmp", { ...at, mode: 0o1777 }),
    t.directory("srv", { ...at, mode: 0o2775, uid: 1000, gid: 33 }),
    ...["bin", "lib", "lib64", "sbin"].map((name) => t.symlink(name, `usr/${name}`, at)),
    t.file("usr/bin/busybox", busybox, { ...at, mode: 0o755 }),
    ...applets.map((path) => t.symlink(path, path.startsWith("usr/bin/") ? "busybox" : "../bin/busybox", at)),
    t.file("usr/bin/su", busybox.subarray(0, 4096), { ...at, mode: 0o4755 }),
    t.file("usr/bin/ping", "a program that may open raw sockets\n", {
      ...at,
      mode: 0o755,
      xattrs: { "security.capability": CAP_NET_RAW },
    }),
    t.file("usr/sbin/init", INIT, { ...at, mode: 0o755 }),
    t.charDevice("dev/console", 5, 1, at),
    t.charDevice("dev/null", 1, 3, { ...at, mode: 0o666 }),
    t.blockDevice("dev/demo-disk", 259, 70_000, { ...at, gid: 6, mode: 0o660 }),
    t.fifo("var/spool/pipe", { ...at, mode: 0o622 }),
    t.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", at),
    t.file("etc/group", "root:x:0:\ndisk:x:6:\nwww-data:x:33:\n", at),
    t.file("etc/shadow", "root:*:20000:0:99999:7:::\n", { ...at, mode: 0o640, gid: 42 }),
    t.file("etc/hostname", "demo\n", { ...at, mtime: `${V1_TIME}.123456789` }),
    t.symlink("etc/mtab", "../proc/self/mounts", at),
    t.file("etc/issue", "", at),
    t.file("usr/share/demo/one", "one file with three names\n", { ...at, xattrs: { "user.origin": "version 1" } }),
    t.hardlink("usr/share/demo/two", "usr/share/demo/one", at),
    t.hardlink("usr/share/demo/three", "usr/share/demo/one", at),
    t.file("usr/share/demo/one-of-two", "one file with two names\n", at),
    t.hardlink("usr/share/demo/two-of-two", "usr/share/demo/one-of-two", at),
    t.file("usr/share/demo/goes-away", "removed by version 2\n", at),
    t.directory("usr/share/demo/goes-away.d", at),
    t.file("usr/share/demo/goes-away.d/file", "removed with its directory\n", at),
    t.file("var/cache/demo/old", "hidden by an opaque directory\n", at),
    t.directory("var/cache/demo/old.d", at),
    t.file("var/cache/demo/old.d/deeper", "hidden too\n", at),
    t.file("usr/share/demo/was-a-file", "a directory in version 2\n", at),
    t.directory("usr/share/demo/was-a-directory", at),
    t.file("usr/share/demo/was-a-directory/file", "gone when it becomes a file\n", at),
    t.file("usr/share/demo/naïve", "a name in UTF-8\n", at),
    t.file(LATIN1_NAME, "a name that is no UTF-8\n", at),
    ...parents([LONG_NAME], "usr/share/demo").map((name) => t.directory(name, at)),
    t.file(LONG_NAME, "a name too long for a tar header\n", at),
    t.symlink("usr/share/demo/long-link", `${"../".repeat(40)}${"x/".repeat(40)}nowhere`, at),
    t.file("usr/share/demo/big-owner", "", { ...at, uid: 3_000_000_000, gid: 3_000_000 }),
    t.file("usr/share/demo/before-1970", "", { mtime: "-86400.5" }),
    // Through the symlink lib -> usr/lib of this very layer.
    t.file("lib/through-the-link", "lies in usr/lib\n", at),
  ];
}

function kernelLayer(kernel: Kernel, initrd: Uint8Array, mtime: number): t.TarItem[] {
  const at = { mtime };
  const root = `usr/lib/modules/${kernel.version}`;
  const modules = [...filesBelow(join(kernel.modules, "kernel", "drivers", "virtio"))]
    .concat(
      filesBelow(join(kernel.modules, "kernel", "drivers", "block")),
      filesBelow(join(kernel.modules, "kernel", "fs")),
    );
  const files = modules.map((path) => [`${root}/${relative(kernel.modules, path)}`, path] as const);
  return [
    t.directory(root, at),
    ...parents(files.map(([name]) => name), root).map((name) => t.directory(name, at)),
    ...files.map(([name, path]) => t.file(name, readFileSync(path), at)),
    t.file(`boot/vmlinuz-${kernel.version}`, readFileSync(kernel.vmlinuz), { ...at, mode: 0o600 }),
    t.file(`boot/initrd-${kernel.version}`, initrd, { ...at, mode: 0o600 }),
    t.symlink("boot/vmlinuz", `vmlinuz-${kernel.version}`, at),
    t.symlink("boot/initrd", `initrd-${kernel.version}`, at),
  ];
}

function removeKernel(kernel: Kernel): t.TarItem[] {
  return [
    ...["boot", "usr/lib/modules"].map((name) => t.directory(name, { mtime: V2_TIME })),
    t.whiteout(`usr/lib/modules/${kernel.version}`),
    t.whiteout(`boot/vmlinuz-${kernel.version}`),
    t.whiteout(`boot/initrd-${kernel.version}`),
  ];
}

function systemLayer(version: string): t.TarItem[] {
  const at = { mtime: V1_TIME };
  return [
    t.directory("etc/cos", at),
    t.file("etc/cos/bootargs.cfg", BOOTARGS, at),
    t.symlink("etc/os-release", "../usr/lib/os-release", at),
    t.file("usr/lib/os-release", osRelease(version), at),
    // Incompressible, so that the layer has several frames of a real size.
    t.file("usr/share/demo/noise", noise(5 << 20), at),
  ];
}

function changesLayer(version: string): t.TarItem[] {
  const at = { mtime: V2_TIME };
  return [
    // As builders do, what contains a change is listed with it.
    ...["etc", "etc/cos", "usr/lib", "usr/share/demo"].map((name) => t.directory(name, at)),
    t.file("usr/lib/os-release", osRelease(version), at),
    t.file("etc/cos/bootargs.cfg", BOOTARGS.replace("panic=5", "panic=5 quiet"), at),
    t.whiteout("usr/share/demo/goes-away"),
    t.whiteout("usr/share/demo/goes-away.d"),
    t.directory("var/cache/demo", { ...at, mode: 0o750 }),
    // Behind a file of this layer, which it must not hide.
    t.file("var/cache/demo/new", "shown beside the opaque marker\n", at),
    t.opaque("var/cache/demo"),
    // One of three names becomes a file of its own; the two others stay one file.
    t.file("usr/share/demo/two", "now a file of its own\n", { ...at, xattrs: { "user.origin": "version 2" } }),
    // A new name for a file of a lower layer, and names that change partners.
    t.hardlink("usr/share/demo/four", "usr/share/demo/three", at),
    t.hardlink("usr/share/demo/two-of-two", "usr/share/demo/two", at),
    t.directory("usr/share/demo/was-a-file", at),
    t.file("usr/share/demo/was-a-file/inside", "a file no more\n", at),
    t.file("usr/share/demo/was-a-directory", "a directory no more\n", at),
    t.file("usr/bin/ping", "may configure networks too\n", {
      ...at,
      mode: 0o755,
      xattrs: { "security.capability": CAP_NET_ADMIN_RAW, "user.note": "two\0parts = one value" },
    }),
    t.directory("srv", { ...at, mode: 0o3775, uid: 1000, gid: 33, xattrs: { "user.note": "shared" } }),
    t.file("etc/hostname", "demo-2\n", { ...at, mtime: `${V2_TIME}.987654321` }),
    t.file(LONG_NAME, "changed\n", { ...at, format: "gnu" }),
  ];
}

const BOOTARGS = `set kernel=/boot/vmlinuz
set initramfs=/boot/initrd
set kernelcmd="console=tty1 console=ttyS0 root=LABEL=$label cos-img/filename=$img panic=5 rd.cos.oemlabel=COS_OEM"
`;

function osRelease(version: string): string {
  return `NAME="cos demo"\nID=cos-demo\nVERSION_ID=${version}\nPRETTY_NAME="${prettyName(version)}"\n`;
}

/** Bytes without a pattern, always the same ones (xorshift32). */
function noise(length: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  let x = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer);
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The directories between `root` and the names, each before what lies in it. */
function parents(names: string[], root: string): string[] {
  const found = new Set<string>();
  for (const name of names) {
    for (let at = name.lastIndexOf("/"); at > root.length; at = name.lastIndexOf("/", at - 1)) {
      found.add(name.slice(0, at));
    }
  }
  return [...found].sort();
}
