/**
 * `grub_oem_env` at the top of the state partition: the menu's name for the system, and the labels by which GRUB finds the
 * partitions and the images. Menus of the first generation's last versions do not boot where a label is missing.
 */
import { byteStringOf } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { isLabel, LABEL_NAMES, type Labels } from "../base/labels.ts";
import { ENV_BLOCK_SIZE, parseEnvBlock, printEnvBlock, updateEnvBlock } from "../formats/env-block.ts";
import type { Kernel } from "../system/kernel.ts";
import { withPlainFile } from "../system/plain-files.ts";
import { changeEnvFile } from "./env-file.ts";

export const OEM_ENV_FILE = "grub_oem_env";

export interface MenuVariables {
  /** `default_menu_entry`; undefined to leave it as it is. */
  entry?: string;
  /** By the name of the variable: only those that have no value there are filled in. */
  labels: Readonly<Record<string, string>>;
}

/** The labels in it that are any. */
export function menuLabels(kernel: Kernel, state: number): Partial<Labels> {
  const bytes = withPlainFile(kernel, state, OEM_ENV_FILE, (fd) => {
    const block = new Uint8Array(ENV_BLOCK_SIZE);
    return block.subarray(0, kernel.pread(fd, block, 0));
  });
  const variables = typeof bytes === "string" ? undefined : parseEnvBlock(bytes);
  return Object.fromEntries(LABEL_NAMES.flatMap((name) => {
    const label = variables?.get(`${name}_label`);
    return label !== undefined && isLabel(label) ? [[name, label]] : [];
  }));
}

/** Changes the file in place. Throws `CONFIGURATION`. */
export function changeOemEnv(kernel: Kernel, state: number, wanted: MenuVariables): "written" | "same" | "absent" {
  return changeEnvFile(kernel, state, OEM_ENV_FILE, (bytes) => {
    const variables = parseEnvBlock(bytes);
    if (variables === undefined) throw unusable("it is no environment block of GRUB");
    const changes = missing(variables, wanted);
    if (changes.size === 0) return undefined;
    const block = updateEnvBlock(bytes, changes);
    if (block === undefined) {
      throw unusable("its variables would not fit into one sector, so a power cut could tear them");
    }
    return block;
  });
}

/** A file with these variables, for a machine that has none. Throws `CONFIGURATION`. */
export function newOemEnv(wanted: MenuVariables): Uint8Array {
  const block = printEnvBlock(missing(new Map(), wanted));
  if (block === undefined) throw unusable("its variables would not fit");
  return block;
}

function missing(variables: ReadonlyMap<string, string>, { entry, labels }: MenuVariables): Map<string, string> {
  const changes = new Map<string, string>();
  if (entry !== undefined && variables.get("default_menu_entry") !== byteStringOf(entry)) {
    changes.set("default_menu_entry", byteStringOf(entry));
  }
  for (const [name, label] of Object.entries(labels)) if (!variables.get(name)) changes.set(name, byteStringOf(label));
  return changes;
}

function unusable(why: string): CosError {
  return new CosError(
    "CONFIGURATION",
    `Cannot set the boot menu's variables in ${OEM_ENV_FILE} on the state partition: ${why}.`,
    {
      hint: `Look at it with: grub-editenv ${OEM_ENV_FILE} list; a new one is made where it is missing.`,
    },
  );
}
