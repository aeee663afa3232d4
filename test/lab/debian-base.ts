/**
 * A Debian system of some 500 MB as an OCI layout, for tests and measurements at the size of real images. Made once by
 * debootstrap, from the mirror and the release of this machine, and kept in the cache of the checkout.
 */
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { zstdCompressSync } from "node:zlib";
import { disposable, untilStopping } from "./cleanup.ts";
import { CACHE } from "./kernels.ts";
import { type Layer, writeLayout } from "./oci-layout.ts";
import { run } from "./run.ts";

/** Debian packages that making it needs. */
export const DEBIAN_BASE_PACKAGES = ["debian-archive-keyring", "debootstrap", "gzip", "tar", "util-linux"];

export interface DebianBase {
  /** Layouts of the same layers, which hold the image under the tag `base`; zstd is written in many frames. */
  gzip: string;
  zstd: string;
  tag: "base";
  /** Sum of the layers as tar. */
  unpackedBytes: number;
}

/** What a node of a fleet has: enough to come near the size of real images. */
const INCLUDE = [
  ...["systemd-sysv", "linux-image-cloud-amd64", "openssh-server", "iproute2", "nftables", "curl", "ca-certificates"],
  ...["python3", "git", "btrfs-progs", "xfsprogs", "tcpdump"],
];

/** The layers' contents, as arguments of tar; together they are the whole tree. */
const LAYERS = [
  ["--exclude=./usr", "--exclude=./boot", "--exclude=./etc/cos", "."],
  ["--exclude=./usr/lib/modules", "./usr"],
  ["./boot", "./usr/lib/modules", "./etc/cos"],
];

const BOOTARGS = `set kernel=/boot/vmlinuz
set initramfs=/boot/initrd
set kernelcmd="console=ttyS0 root=LABEL=$label cos-img/filename=$img panic=5 rd.cos.oemlabel=COS_OEM"
`;

/** Bytes of tar in a zstd frame. */
const FRAME_BYTES = 4 << 20;

/** The base, made when the cache does not hold it: that takes one to two minutes, and the caller must be root. */
export async function debianBase(): Promise<DebianBase> {
  const source = await debianSource();
  const recipe = JSON.stringify([source.suite, INCLUDE, LAYERS, BOOTARGS, FRAME_BYTES]);
  const id = createHash("sha256").update(recipe).digest("hex").slice(0, 12);
  const place = join(CACHE, `debian-${source.suite}-${id}`);
  mkdirSync(CACHE, { recursive: true });
  // Tests and scripts may run at the same time: the first one builds, the others wait for it.
  using lock = await Deno.open(`${place}.lock`, { write: true, create: true });
  await lock.lock(true);
  if (!existsSync(place)) await build(source, place);
  const { unpackedBytes } = JSON.parse(readFileSync(join(place, "facts.json"), "utf8")) as { unpackedBytes: number };
  return { gzip: join(place, "gzip"), zstd: join(place, "zstd"), tag: "base", unpackedBytes };
}

interface DebianSource {
  suite: string;
  mirror: string;
}

/** Where this machine's own packages come from. */
async function debianSource(): Promise<DebianSource> {
  const suite = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  if (suite === undefined) throw new Error("Cannot tell which Debian release this machine is: no VERSION_CODENAME");
  const targets = await run("apt-get", ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]);
  const mirror = targets.split("\n").map((line) => line.split(" "))
    .find(([, codename, component]) => codename === suite && component === "main")?.[0];
  if (mirror === undefined) throw new Error(`Cannot find a mirror of ${suite} in the configuration of apt`);
  return { suite, mirror };
}

async function build({ suite, mirror }: DebianSource, place: string): Promise<void> {
  console.error(`making a base of Debian ${suite} (once, one to two minutes)`);
  const temporary = mkdtempSync(join(CACHE, "debootstrap-"));
  await using _removed = disposable(() => rmSync(temporary, { recursive: true, force: true }));
  const at = (...names: string[]) => join(temporary, ...names);
  // In namespaces of its own: what it mounts and starts in the tree ends with it, whatever ends it.
  await run("unshare", [
    ...["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"],
    ...["debootstrap", "--variant=minbase", `--include=${INCLUDE.join(",")}`, suite, at("tree"), mirror],
  ]);
  finishTree(at("tree"));

  const tars = await Promise.all(LAYERS.map(async (arguments_, i) => {
    const tar = at(`${i}.tar`);
    await run("tar", [
      ...["--create", "--file", tar, "--directory", at("tree"), "--sort=name", "--numeric-owner", "--xattrs"],
      ...["--xattrs-include=*", "--format=posix", "--pax-option=delete=atime,delete=ctime", ...arguments_],
    ]);
    return { tar, diffId: await fileDigest(tar) };
  }));
  mkdirSync(at("blobs"));
  mkdirSync(at("done"));
  for (const compression of ["gzip", "zstd"] as const) {
    const layers = await Promise.all(tars.map(async ({ tar, diffId }, i): Promise<Layer> => {
      const path = at("blobs", `${i}.${compression}`);
      if (compression === "gzip") await run("sh", ["-c", 'exec gzip -n < "$1" > "$2"', "sh", tar, path]);
      else await compressInFrames(tar, path);
      const digest = await fileDigest(path);
      return { content: { path }, digest, size: statSync(path).size, diffId, compression };
    }));
    const created = "2026-01-01T00:00:00Z";
    writeLayout(at("done", compression), { base: { layers, created, labels: { [VERSION_LABEL]: suite } } });
  }
  const unpackedBytes = tars.reduce((sum, { tar }) => sum + statSync(tar).size, 0);
  writeFileSync(at("done", "facts.json"), JSON.stringify({ unpackedBytes }));
  await untilStopping();
  renameSync(at("done"), place);
}

const VERSION_LABEL = "org.opencontainers.image.version";

/** What makes a system image of a Debian tree: fixed names of kernel and initrd, and GRUB's arguments. */
function finishTree(tree: string): void {
  const version = readdirSync(join(tree, "usr/lib/modules"))[0];
  if (version === undefined) throw new Error("Cannot find a kernel in the tree that debootstrap made");
  symlinkSync(`vmlinuz-${version}`, join(tree, "boot/vmlinuz"));
  symlinkSync(`initrd.img-${version}`, join(tree, "boot/initrd"));
  mkdirSync(join(tree, "etc/cos"));
  writeFileSync(join(tree, "etc/cos/bootargs.cfg"), BOOTARGS);
  // Images carry neither the downloaded packages nor the mirror's lists.
  for (const directory of ["var/cache/apt/archives", "var/lib/apt/lists"]) {
    for (const name of readdirSync(join(tree, directory))) rmSync(join(tree, directory, name), { recursive: true });
  }
}

async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return `sha256:${hash.digest("hex")}`;
}

async function compressInFrames(from: string, to: string): Promise<void> {
  const out = createWriteStream(to);
  for await (const chunk of createReadStream(from, { highWaterMark: FRAME_BYTES })) {
    out.write(zstdCompressSync(chunk as Uint8Array));
  }
  out.end();
  await finished(out);
}
