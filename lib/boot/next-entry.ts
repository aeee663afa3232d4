/** `next_entry` in GRUB's environment: the entry of the next boot alone, which GRUB takes out again before it starts it. */
import { parseEnvBlock, printEnvBlock, updateEnvBlock } from "../formats/env-block.ts";
import type { Kernel } from "../system/kernel.ts";
import { withPlainFile } from "../system/plain-files.ts";
import { changeEnvFile } from "./env-file.ts";

/** At the top of COS_OEM; menus to the first generation's v0.9 took the first partition that has one. */
export const GRUB_ENV_FILE = "grubenv";
const VARIABLE = "next_entry";

/** Undefined where there is no such file, or nothing that GRUB would read. */
export function readNextEntry(kernel: Kernel, directory: number): string | undefined {
  const found = withPlainFile(kernel, directory, GRUB_ENV_FILE, (fd, { size }) => {
    const bytes = new Uint8Array(Math.min(size, 65536));
    return parseEnvBlock(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
  });
  return found instanceof Map ? found.get(VARIABLE) ?? "" : undefined;
}

/** In place. @param entry empty: none. */
export function writeNextEntry(kernel: Kernel, directory: number, entry: string): "written" | "unfit" | "absent" {
  let fits = true;
  const outcome = changeEnvFile(kernel, directory, GRUB_ENV_FILE, (bytes) => {
    const block = updateEnvBlock(bytes, new Map([[VARIABLE, entry]]));
    fits = block !== undefined;
    return block;
  });
  return outcome === "absent" ? "absent" : fits ? "written" : "unfit";
}

export function newGrubEnv(entry: string): Uint8Array {
  const block = printEnvBlock(new Map([[VARIABLE, entry]]));
  if (block === undefined) throw new Error("one short variable fits into a block");
  return block;
}
