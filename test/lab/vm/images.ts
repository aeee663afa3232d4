/** The systems that the lab's machines boot: the demo's two versions with a userland of the lab's, and versions that are bad. */
import { type Layer, packLayer, writeLayout } from "../oci-layout.ts";
import { OS_IMAGE_PACKAGES, type OsSystem, osSystems } from "../os-image.ts";
import * as t from "../tar-writer.ts";
import { debianInitramfs, INITRAMFS_PACKAGES } from "./initramfs.ts";
import { BEHAVIOUR, userlandEntries } from "./userland.ts";

/** Debian packages that they need. */
export const VM_IMAGE_PACKAGES = [...OS_IMAGE_PACKAGES, ...INITRAMFS_PACKAGES];

/** The first newer than the second, and all that differs from it is told here. */
const VARIANTS = {
  /** The first program ends: the kernel panics. */
  panics: [t.file(BEHAVIOUR, "echo 'lab: the first program ends'\nexit 1\n")],
  /** It comes up, and no unit says that it is good. */
  silent: [
    t.whiteout("etc/systemd/system/multi-user.target.wants/cos-boot-good.service"),
  ],
  /** It comes up, and one of the operator's checks fails. */
  failing: [
    t.directory("etc/cos/checks.d"),
    t.file("etc/cos/checks.d/10-fine", "#!/bin/sh\nexit 0\n", { mode: 0o755 }),
    t.file("etc/cos/checks.d/20-service", "#!/bin/sh\necho the service does not answer\nexit 3\n", { mode: 0o755 }),
  ],
} satisfies Record<string, t.TarItem[]>;

export type VmTag = "v1" | "v2" | keyof typeof VARIANTS;

/** What the tags say of themselves as `VERSION_ID`. */
export const VERSIONS: Record<VmTag, string> = {
  v1: "1.0.0",
  v2: "2.0.0",
  panics: "2.0.1",
  silent: "2.0.2",
  failing: "2.0.3",
};

export interface VmImages {
  /** An OCI layout with an image a tag. */
  layout: string;
  /** `uname -r` of a tag's kernel. */
  kernels: Record<"v1" | "v2", string>;
}

/** @param program the static file. */
export async function writeVmImages(layout: string, program: string): Promise<VmImages> {
  const { v1, v2 } = await osSystems();
  const userland = packLayer(t.tar(await userlandEntries(program)), "zstd-frames");
  const boots = new Map([[v1, await bootLayer(v1, program)], [v2, await bootLayer(v2, program)]]);
  const system = (base: OsSystem, version: string, more: t.TarItem[] = []) => ({
    layers: [...base.layers, userland, boots.get(base) as Layer, ownLayer(version, more)],
    created: base.created,
    labels: { "org.opencontainers.image.version": version },
  });
  writeLayout(layout, {
    v1: system(v1, VERSIONS.v1),
    v2: system(v2, VERSIONS.v2),
    ...Object.fromEntries(
      Object.entries(VARIANTS).map(([tag, more]) => [tag, system(v2, VERSIONS[tag as VmTag], more)]),
    ),
  });
  return { layout, kernels: { v1: v1.kernel.version, v2: v2.kernel.version } };
}

const BOOTARGS = `set kernel=/boot/vmlinuz
set initramfs=/boot/initrd
set kernelcmd="console=ttyS0 root=LABEL=$label cos-img/filename=$img panic=5 loglevel=6 rd.cos.oemlabel=COS_OEM"
`;

/** The real initramfs in place of the demo's. It does not become smaller by another compression. */
async function bootLayer({ kernel }: OsSystem, program: string): Promise<Layer> {
  const initramfs = await debianInitramfs(kernel, program);
  return packLayer(t.tar([t.file(`boot/initrd-${kernel.version}`, initramfs, { mode: 0o600 })]), "none");
}

function ownLayer(version: string, more: t.TarItem[]): Layer {
  const release = `NAME="cos lab"\nID=cos-lab\nVERSION_ID=${version}\nPRETTY_NAME="cos lab ${version}"\n`;
  return packLayer(
    t.tar([
      t.directory("etc/lab"),
      t.file("usr/lib/os-release", release),
      t.file("etc/cos/bootargs.cfg", BOOTARGS),
      ...more,
    ]),
    "zstd-frames",
  );
}
