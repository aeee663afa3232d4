/** Counting of boot attempts: what GRUB on this machine does about it, and the block of variables that it counts in. */
import { CosError } from "../base/errors.ts";
import { ENV_BLOCK_SIZE, parseEnvBlock, updateEnvBlock } from "../formats/env-block.ts";
import type { StatePartition } from "../machine/state-partition.ts";
import { ExtentMap } from "../system/extents.ts";
import { BTRFS_MAGIC, type FileStatus, type Kernel } from "../system/kernel.ts";
import { withPlainFile } from "../system/plain-files.ts";
import { TreeRoot } from "../system/tree-root.ts";
import { changeEnvFile } from "./env-file.ts";

export const COUNTER_FILE = "boot_assessment";
export const HOOK_FILE = "grubcustom";
export const SCRIPT_FILE = "grub_boot_assessment";
/** Passes on which image the kernel comes from. */
export const IMAGE_SCRIPT_FILE = "grub_image_uuid";
/** What an older tool's script is kept as. */
export const KEPT_SCRIPT = `${SCRIPT_FILE}.before-cos`;
const VARIABLE = "cos_tries";
/** What the older tools' script counts with. A value left from an earlier try would fall back before the next one. */
const OLDER_VARIABLES = ["enable_boot_assessment", "boot_assessment_tentative"] as const;
/** Where a menu may lie on the state partition itself. */
const MENUS = ["grub2/grub.cfg", "grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub/grub.cfg"] as const;

/** Why boots cannot be counted here, in words that follow "Fallback is not armed:". */
export const OBSTACLES = {
  "no-hook": "GRUB on this machine does not count failed boots",
  "no-script": `the hook in ${HOOK_FILE} leads to no script that counts (${SCRIPT_FILE})`,
  "not-sourced": `the boot menu on the state partition does not read ${HOOK_FILE}`,
  "filesystem": "GRUB cannot write to btrfs, so it cannot count",
  "device": "GRUB cannot write to a logical, encrypted or RAID volume, so it cannot count",
  "no-block": `there is no ${COUNTER_FILE} on the state partition to count in`,
  "not-a-block": `${COUNTER_FILE} on the state partition is no environment block of GRUB`,
  "size": `${COUNTER_FILE} on the state partition has not the ${ENV_BLOCK_SIZE} bytes of an environment block`,
  "full": `the variables in ${COUNTER_FILE} do not fit into one sector, so a power cut could tear them`,
  "hole": `${COUNTER_FILE} on the state partition has a hole, and GRUB refuses to write to it`,
  "extents": `GRUB cannot find the blocks of ${COUNTER_FILE} on the disk`,
} as const;
export type CountObstacle = keyof typeof OBSTACLES;

export interface BootCounter {
  /** GRUB on this machine counts `cos_tries` down. */
  counts: boolean;
  /** Why it does not. */
  obstacle?: CountObstacle;
  /** "" where nothing counts, or nothing is being tried. A value that GRUB does not know is 0 to it, and here. */
  tries: string;
  /** The older tools' script fell back, or will: its one try is spent. */
  tentative: boolean;
}

export type CounterPlace = Pick<StatePartition, "fd" | "type" | "blockDevice">;

export function readBootCounter(kernel: Kernel, place: CounterPlace): BootCounter {
  const block = readBlock(kernel, place);
  const value = block.variables?.get(VARIABLE) ?? "", tentative = block.variables?.get(OLDER_VARIABLES[1]) === "yes";
  const obstacle = hookObstacle(kernel, place.fd) ?? placeObstacle(place) ?? block.obstacle;
  if (obstacle !== undefined) return { counts: false, obstacle, tries: "", tentative };
  return { counts: true, tries: ["", "1", "2", "3"].includes(value) ? value : "0", tentative };
}

/** What the boot menu on the state partition does. */
export type MenuKind =
  | "counts"
  | "reads-hook"
  /** It reads no hook, so nothing of ours is ever read. */
  | "reads-none"
  /** It lies elsewhere, on the EFI partition: the menus of this family read the hook. */
  | "elsewhere";

export function menuKind(kernel: Kernel, state: number): MenuKind {
  return withFiles(kernel, state, (read) => {
    const menus = MENUS.map(read).filter((text) => text !== undefined);
    if (menus.some((text) => text.includes(VARIABLE))) return "counts";
    if (menus.some((text) => text.includes(HOOK_FILE))) return "reads-hook";
    return menus.length > 0 ? "reads-none" : "elsewhere";
  });
}

/** Whether a boot menu on the state partition reads this file. */
export function menuReads(kernel: Kernel, state: number, file: string): boolean {
  return withFiles(kernel, state, (read) => MENUS.some((path) => read(path)?.includes(file) === true));
}

/** Why GRUB would not read a script that counts. */
function hookObstacle(kernel: Kernel, state: number): CountObstacle | undefined {
  const menu = menuKind(kernel, state);
  if (menu === "counts") return undefined;
  return withFiles(kernel, state, (read) => {
    if (read(HOOK_FILE)?.includes(SCRIPT_FILE) !== true) return "no-hook";
    if (read(SCRIPT_FILE)?.includes(VARIABLE) !== true) return "no-script";
    return menu === "reads-none" ? "not-sourced" : undefined;
  });
}

function withFiles<T>(kernel: Kernel, state: number, use: (read: (path: string) => string | undefined) => T): T {
  const tree = new TreeRoot(kernel, state);
  try {
    return use((path) => {
      const bytes = tree.readFile(path);
      return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
    });
  } finally {
    tree.forget();
  }
}

/** Why the block that is there cannot be counted in, whoever would. */
export function counterBlockObstacle(kernel: Kernel, place: CounterPlace): CountObstacle | undefined {
  return readBlock(kernel, place).obstacle;
}

/** GRUB's save_env writes to the blocks of a plain partition, through no layer of anybody's. */
export function placeObstacle({ type, blockDevice }: CounterPlace): CountObstacle | undefined {
  if (type === BTRFS_MAGIC) return "filesystem";
  return blockDevice !== undefined && /^(?:dm-|md|bcache)[0-9]/.test(blockDevice) ? "device" : undefined;
}

interface Block {
  variables?: Map<string, string>;
  bytes?: Uint8Array;
  obstacle?: CountObstacle;
}

function readBlock(kernel: Kernel, { fd: state }: CounterPlace): Block {
  const found = withPlainFile(kernel, state, COUNTER_FILE, (fd, status): Block => {
    const buffer = new Uint8Array(ENV_BLOCK_SIZE), bytes = buffer.subarray(0, kernel.pread(fd, buffer, 0));
    const variables = parseEnvBlock(bytes);
    if (variables === undefined) return { obstacle: "not-a-block" };
    return { variables, bytes, obstacle: blockObstacle(kernel, fd, status, bytes) };
  });
  if (found === "absent") return { obstacle: "no-block" };
  return found === "odd" ? { obstacle: "not-a-block" } : found;
}

function blockObstacle(kernel: Kernel, fd: number, { size }: FileStatus, bytes: Uint8Array): CountObstacle | undefined {
  if (size !== ENV_BLOCK_SIZE) return "size";
  const armed = updateEnvBlock(bytes, variablesFor("3"));
  if (armed === undefined) return "full";
  const hole = kernel.seekHole(fd, 0);
  if (hole >= 0 && hole < size) return "hole";
  return new ExtentMap(kernel).pieces(fd, size, () => undefined) ? undefined : "extents";
}

function variablesFor(tries: string): Map<string, string> {
  return new Map<string, string>([[VARIABLE, tries], ...OLDER_VARIABLES.map((name) => [name, ""] as const)]);
}

/**
 * Sets `cos_tries`, and every other variable that GRUB could count with to its start value, in one write. In place: GRUB may
 * have noted the file's blocks, and a new file would have others. Throws `SYSTEM_CALL`.
 */
export function writeTries(kernel: Kernel, state: number, value: string): void {
  withBlock(kernel, state, (bytes) => {
    const block = updateEnvBlock(bytes, variablesFor(value));
    if (block === undefined) throw unusable();
    return block;
  });
}

/** The block as it is, to be put back by `restoreCounter`; undefined where there is none. */
export function saveCounter(kernel: Kernel, place: CounterPlace): Uint8Array | undefined {
  return readBlock(kernel, place).bytes;
}

/** Puts the variables back as they were, those of others too. Writes nothing where nothing was changed. */
export function restoreCounter(kernel: Kernel, state: number, saved: Uint8Array | undefined): void {
  if (saved === undefined) return;
  withBlock(kernel, state, (bytes) => bytes.every((byte, i) => byte === saved[i]) ? undefined : saved);
}

function withBlock(kernel: Kernel, state: number, change: (bytes: Uint8Array) => Uint8Array | undefined): void {
  if (changeEnvFile(kernel, state, COUNTER_FILE, change) === "absent") throw unusable();
}

function unusable(): CosError {
  return new CosError(
    "SYSTEM_CALL",
    `Cannot count boot attempts: ${COUNTER_FILE} on the state partition is no environment block of GRUB.`,
    {
      hint: "Make it anew with: cos boot install",
    },
  );
}
