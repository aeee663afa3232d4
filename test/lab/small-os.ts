/** Images that are small and complete enough to be installed: for tests of what happens around the unpacking. */
import { packLayer, writeLayout } from "./oci-layout.ts";
import * as t from "./tar-writer.ts";

const BOOT_ARGUMENTS = `set kernel=/boot/vmlinuz
set initramfs=/boot/initrd
set kernelcmd="root=LABEL=$label cos-img/filename=$img panic=5"
`;

export interface SmallOsOptions {
  /** Entries to leave out, or to put in the place of the usual ones, by path. */
  replace?: Record<string, t.TarEntry | undefined>;
  more?: t.TarItem[];
  /** Of the image's configuration. */
  labels?: Record<string, string>;
  /** ISO 8601. */
  created?: string;
}

/** The entries of a system of that version. */
export function smallSystem(version: string, { replace = {}, more = [] }: SmallOsOptions = {}): t.TarItem[] {
  const entries: [string, t.TarEntry][] = [
    ["boot", t.directory("boot")],
    ["boot/vmlinuz", t.file("boot/vmlinuz", `kernel of ${version}`)],
    ["boot/initrd", t.file("boot/initrd", `initrd of ${version}`)],
    ["etc", t.directory("etc")],
    ["etc/cos", t.directory("etc/cos")],
    ["etc/cos/bootargs.cfg", t.file("etc/cos/bootargs.cfg", BOOT_ARGUMENTS)],
    ["etc/os-release", t.file("etc/os-release", `ID=small\nVERSION_ID=${version}\nPRETTY_NAME="Small ${version}"\n`)],
    ["usr", t.directory("usr")],
    ["usr/data", t.file("usr/data", new Uint8Array(300_000).fill(version.length))],
  ];
  const kept = entries.map(([path, entry]) => path in replace ? replace[path] : entry);
  return [...kept.filter((entry) => entry !== undefined), ...more];
}

/** Writes a layout with one image a tag; the tag is the version too. Returns the manifests' digests by tag. */
export function writeSmallOs(directory: string, images: Record<string, SmallOsOptions>): Record<string, string> {
  const specs = Object.fromEntries(
    Object.entries(images).map(([tag, options]) => [tag, {
      layers: [packLayer(t.tar(smallSystem(tag, options)), "gzip")],
      labels: options.labels,
      created: options.created,
    }]),
  );
  return Object.fromEntries(writeLayout(directory, specs).map(({ tag, descriptor }) => [tag, descriptor.digest]));
}
