/** What an image must hold so that GRUB can start it. An image without it would only be missed at the next boot. */
import { byteStringOf } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { parseBootArguments } from "../formats/bootargs.ts";
import { parseKeyValues } from "../formats/key-value.ts";
import type { TreeRoot } from "../system/tree-root.ts";

const BOOT_ARGUMENTS = "etc/cos/bootargs.cfg";

export interface BootFiles {
  kernel: string;
  initramfs: string;
}

/** @param name the image, for messages. Throws `INCOMPLETE_SYSTEM`. */
export function checkBootFiles(tree: TreeRoot, name: string): BootFiles {
  const script = tree.readFile(BOOT_ARGUMENTS);
  if (script === undefined) throw incomplete(name, `it has no /${BOOT_ARGUMENTS}`);
  const { kernel, initramfs, kernelArguments } = parseBootArguments(new TextDecoder().decode(script));
  if (kernel === undefined || initramfs === undefined || kernelArguments === undefined) {
    const missing = kernel === undefined ? "kernel" : initramfs === undefined ? "initramfs" : "kernelcmd";
    throw incomplete(name, `its /${BOOT_ARGUMENTS} does not set ${missing}`);
  }
  for (const [what, path] of [["kernel", kernel], ["initrd", initramfs]] as const) {
    if (fileSize(tree, path) === 0) throw incomplete(name, `its ${what} ${path} is missing or empty`);
  }
  return { kernel, initramfs };
}

function fileSize(tree: TreeRoot, path: string): number {
  return tree.sizeOf(byteStringOf(path.replace(/^\/+/, ""))) ?? 0;
}

export interface OsRelease {
  /** `VERSION_ID`, else `VERSION`. */
  version?: string;
  /** `PRETTY_NAME`. */
  name?: string;
  /** `GRUB_ENTRY_NAME`. */
  menuEntry?: string;
}

/** os-release(5) of a tree; empty where there is none. */
export function readOsRelease(tree: TreeRoot): OsRelease {
  const bytes = tree.readFile("etc/os-release") ?? tree.readFile("usr/lib/os-release");
  if (bytes === undefined) return {};
  const values = parseKeyValues(new TextDecoder().decode(bytes));
  const given = (...keys: string[]) =>
    keys.map((key) => values.get(key)).find((value) => value !== undefined && value !== "");
  return {
    version: given("VERSION_ID", "VERSION"),
    name: given("PRETTY_NAME", "NAME"),
    menuEntry: given("GRUB_ENTRY_NAME"),
  };
}

function incomplete(name: string, why: string): CosError {
  return new CosError("INCOMPLETE_SYSTEM", `Refused ${name}: ${why}, so it could not boot.`, {
    hint: "Build the image with a kernel, an initrd and /etc/cos/bootargs.cfg that names them.",
  });
}
