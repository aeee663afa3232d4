/** This program's own root directory as an image: in a pod of system-upgrade-controller it is the new system. */
import type { ByteString } from "../base/byte-string.ts";
import { byteStringOf } from "../base/byte-string.ts";
import type { Digest } from "../base/digest.ts";
import { parseBootArguments } from "../formats/bootargs.ts";
import { parseKeyValues } from "../formats/key-value.ts";
import type { Mount } from "../formats/mountinfo.ts";
import { hasErrno, isRegular, type Kernel } from "../system/kernel.ts";
import { type Hasher, hasher } from "../system/codecs.ts";
import { TreeRoot } from "../system/tree-root.ts";

export interface OwnTree {
  /** Its top directory, in which nothing is mounted; the caller's. */
  fd: number;
  /** For people. */
  name: string;
  /** What it is known by, as an image is by the digest of its manifest. */
  digest: Digest;
  /** The text of its os-release; empty where it has none. */
  osRelease: string;
  /** Paths that the container runtime made. */
  leaveOut: ReadonlySet<ByteString>;
  leaveOutXattrs: ReadonlySet<ByteString>;
}

/** What runtimes put into a container's root, besides places to mount on. */
const RUNTIME_FILES: readonly ByteString[] = [".dockerenv", ".containerenv", "var/run/secrets"];
/** The runtime labels each file as a container's; the new system is labelled by its own contexts. */
const RUNTIME_XATTRS = new Set<ByteString>(["security.selinux"]);
const OS_RELEASE = ["etc/os-release", "usr/lib/os-release"] as const;
/** What changes whenever a package does. */
const PACKAGES = [
  "var/lib/dpkg/status",
  "usr/lib/sysimage/rpm/rpmdb.sqlite",
  "usr/lib/sysimage/rpm/Packages.db",
  "var/lib/rpm/rpmdb.sqlite",
  "var/lib/rpm/Packages.db",
  "var/lib/rpm/Packages",
  "lib/apk/db/installed",
];
/** One read, in bytes. */
const PIECE = 1024 * 1024;

/**
 * @param plan what changes whenever the operator changes the Plan, which may be all that changed.
 * @param mounts what is mounted in the tree where it is seen with its mounts. @param host where the host's root is.
 */
export async function describeOwnTree(
  kernel: Kernel,
  fd: number,
  { plan, name, mounts, host }: { plan: string; name: string; mounts: readonly Mount[]; host: string },
): Promise<OwnTree> {
  const tree = new TreeRoot(kernel, fd);
  try {
    const osRelease = OS_RELEASE.map((path) => textOf(tree, path)).find((text) => text !== undefined) ?? "";
    const { kernel: image, initramfs } = parseBootArguments(textOf(tree, "etc/cos/bootargs.cfg") ?? "");
    const boot = [image, initramfs].flatMap((path) => path?.replace(/^\/+/, "") ?? []);
    const whole = await hasher("sha256"), encoder = new TextEncoder();
    whole.update(encoder.encode(`plan ${plan}\n`));
    for (const path of [...OS_RELEASE, ...boot, ...PACKAGES]) {
      whole.update(encoder.encode(`${path} ${await sumOf(kernel, tree, path)}\n`));
    }
    return {
      fd,
      name,
      digest: `sha256:${whole.hex()}` as Digest,
      osRelease,
      leaveOut: new Set([...RUNTIME_FILES, host.slice(1), ...madeToMountOn(kernel, fd, mounts)]),
      leaveOutXattrs: RUNTIME_XATTRS,
    };
  } finally {
    tree.forget();
  }
}

/**
 * Empty files where something is mounted: the runtime makes them where the image has none, as for /etc/resolv.conf. Directories
 * that it made cannot be told from the image's own, and are as empty.
 */
function madeToMountOn(kernel: Kernel, fd: number, mounts: readonly Mount[]): ByteString[] {
  return mounts.map(({ mountPoint }) => byteStringOf(mountPoint.slice(1))).filter((path) => {
    if (path === "") return false;
    try {
      const status = kernel.statat(fd, path);
      return isRegular(status) && status.size === 0;
    } catch (thrown) {
      // Mounted in something that is itself mounted.
      if (hasErrno(thrown, "ENOENT", "ENOTDIR", "ELOOP")) return false;
      throw thrown;
    }
  });
}

function textOf(tree: TreeRoot, path: string): string | undefined {
  const bytes = tree.readFile(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

async function sumOf(kernel: Kernel, tree: TreeRoot, path: string): Promise<string> {
  const file = tree.openFile(byteStringOf(path));
  if (file === undefined) return "-";
  try {
    const hash: Hasher = await hasher("sha256"), buffer = new Uint8Array(PIECE);
    for (let count = kernel.read(file, buffer); count > 0; count = kernel.read(file, buffer)) {
      hash.update(buffer.subarray(0, count));
    }
    return hash.hex();
  } finally {
    kernel.close(file);
  }
}

/** What an os-release says for comparison: which product it is of, and which version of it. */
export function releaseOf(text: string): { product: string; version?: string } {
  const values = parseKeyValues(text), repository = values.get("IMAGE_REPO");
  return repository !== undefined
    ? { product: repository, version: values.get("IMAGE_TAG") }
    : { product: `${values.get("ID") ?? ""} ${values.get("VARIANT_ID") ?? ""}`, version: values.get("VERSION_ID") };
}
