/** The systems that the lab's machines boot: the demo's two versions with a userland of the lab's, and versions that are bad. */
import { type ImageSpec, type Layer, packLayer, writeLayout } from "../oci-layout.ts";
import { OS_IMAGE_PACKAGES, type OsSystem, osSystems } from "../os-image.ts";
import * as t from "../tar-writer.ts";
import { debianInitramfs, INITRAMFS_PACKAGES, type InitramfsMaker } from "./initramfs.ts";
import { BEHAVIOUR, userlandEntries } from "./userland.ts";

/** Debian packages that they need. */
export const VM_IMAGE_PACKAGES = [...OS_IMAGE_PACKAGES, ...INITRAMFS_PACKAGES];

interface Variant {
  version: string;
  /** What stands above the second version. */
  more?: t.TarItem[];
  initramfs?: InitramfsMaker;
  /** More of the kernel's arguments. */
  words?: string;
}

/** Seconds after which a watchdog ends a boot here: an emulated one takes about half of that. */
const WATCHDOG = 60;

const VARIANTS = {
  /** As good as the second. */
  v3: { version: "3.0.0" },
  /** With an initramfs by the other tool. */
  dracut: { version: "2.1.0", initramfs: "dracut" },
  /** The first program ends: the kernel panics. */
  panics: { version: "2.0.1", more: [t.file(BEHAVIOUR, "echo 'lab: the first program ends'\nexit 1\n")] },
  /** Nothing goes on when the root is mounted. */
  hangs: { version: "2.0.2", initramfs: "hangs", words: ` cos.watchdog=${WATCHDOG}` },
  /** It comes up, and no unit says that it is good. */
  silent: { version: "2.0.3", more: [t.whiteout("etc/systemd/system/multi-user.target.wants/cos-boot-good.service")] },
  /** It comes up, and one of the operator's checks fails. */
  failing: {
    version: "2.0.4",
    more: [
      t.directory("etc/cos/checks.d"),
      t.file("etc/cos/checks.d/10-fine", "#!/bin/sh\nexit 0\n", { mode: 0o755 }),
      t.file("etc/cos/checks.d/20-service", "#!/bin/sh\necho the service does not answer\nexit 3\n", { mode: 0o755 }),
    ],
  },
} satisfies Record<string, Variant>;

export type VmTag = "v1" | "v2" | keyof typeof VARIANTS;

/** Of all but the first, which has an older kernel, the second is the base. */
const SYSTEMS: Record<VmTag, Variant> = { v1: { version: "1.0.0" }, v2: { version: "2.0.0" }, ...VARIANTS };

/** What a tag says of itself as `VERSION_ID`. */
export const versionOf = (tag: VmTag) => SYSTEMS[tag].version;

export interface VmImages {
  /** An OCI layout with an image a tag. */
  layout: string;
  /** `uname -r` of a tag's kernel. */
  kernels: Record<"v1" | "v2", string>;
}

/** @param program the static file. @param tags those that are wanted. */
export async function writeVmImages(layout: string, program: string, tags: readonly VmTag[]): Promise<VmImages> {
  const { v1, v2 } = await osSystems();
  const userland = packLayer(t.tar(await userlandEntries(program)), "zstd-frames");
  const initramfses = new Map<string, Layer>();
  const images: Record<string, ImageSpec> = {};
  for (const tag of tags) {
    const { version, more = [], initramfs = "initramfs-tools", words = "" }: Variant = SYSTEMS[tag];
    const base = tag === "v1" ? v1 : v2, key = `${initramfs} ${base.kernel.version}`;
    const boot = initramfses.get(key) ?? await bootLayer(base, program, initramfs);
    initramfses.set(key, boot);
    images[tag] = {
      layers: [...base.layers, userland, boot, ownLayer(version, words, more)],
      created: base.created,
      labels: { "org.opencontainers.image.version": version },
    };
  }
  writeLayout(layout, images);
  return { layout, kernels: { v1: v1.kernel.version, v2: v2.kernel.version } };
}

/**
 * Without its check of the timer: the kernel counts ticks against a loop there, and panics ("IO-APIC + timer doesn't work") where the
 * emulator gets no processor for a while.
 */
const bootArguments = (words: string) =>
  `set kernel=/boot/vmlinuz
set initramfs=/boot/initrd
set kernelcmd="console=ttyS0 root=LABEL=$label cos-img/filename=$img panic=5 loglevel=6 no_timer_check rd.cos.oemlabel=COS_OEM${words}"
`;

/** The real initramfs in place of the demo's. It does not become smaller by another compression. */
async function bootLayer({ kernel }: OsSystem, program: string, maker: InitramfsMaker): Promise<Layer> {
  const initramfs = await debianInitramfs(kernel, program, maker);
  return packLayer(t.tar([t.file(`boot/initrd-${kernel.version}`, initramfs, { mode: 0o600 })]), "none");
}

function ownLayer(version: string, words: string, more: t.TarItem[]): Layer {
  const release = `NAME="cos lab"\nID=cos-lab\nVERSION_ID=${version}\nPRETTY_NAME="cos lab ${version}"\n`;
  return packLayer(
    t.tar([
      t.directory("etc/lab"),
      t.file("usr/lib/os-release", release),
      t.file("etc/cos/bootargs.cfg", bootArguments(words)),
      ...more,
    ]),
    "zstd-frames",
  );
}
