/** Counting of boot attempts: what GRUB on this machine does about it, and the variable that it counts in. */
import { CosError } from "../base/errors.ts";
import { ENV_BLOCK_SIZE, parseEnvBlock, printEnvBlock } from "../formats/env-block.ts";
import { hasErrno, type Kernel, O_NOFOLLOW, O_RDWR } from "../system/kernel.ts";
import { TreeRoot } from "../system/tree-root.ts";

const COUNTER_FILE = "boot_assessment";
const VARIABLE = "cos_tries";
/** The hook that older grub.cfg files source, and the script that it sources: only together do they count. */
const HOOK_FILES = ["grubcustom", "grub_boot_assessment"] as const;

export interface BootCounter {
  /** GRUB on this machine counts `cos_tries` down. */
  counts: boolean;
  /** "" where nothing counts, or nothing is being tried. */
  tries: string;
}

/** @param state the top directory of the state partition. */
export function readBootCounter(kernel: Kernel, state: number): BootCounter {
  const tree = new TreeRoot(kernel, state);
  try {
    const read = (path: string) => tree.readFile(path);
    const [hook, script] = HOOK_FILES.map((path) => read(path)).map((b) =>
      b === undefined ? "" : new TextDecoder().decode(b)
    );
    const counts = hook?.includes("grub_boot_assessment") === true && script?.includes(VARIABLE) === true;
    const block = read(COUNTER_FILE);
    const variables = block === undefined ? undefined : parseEnvBlock(block);
    // Without a block that can be written in place, nothing can be armed.
    if (!counts || variables === undefined) return { counts: false, tries: "" };
    return { counts, tries: variables.get(VARIABLE) ?? "" };
  } finally {
    tree.forget();
  }
}

/** In place: GRUB may have noted the file's blocks, and a new file would have others. Throws `SYSTEM_CALL`. */
export function writeTries(kernel: Kernel, state: number, value: string): void {
  let fd;
  try {
    fd = kernel.openat(state, COUNTER_FILE, O_RDWR | O_NOFOLLOW);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT", "ELOOP")) throw cause;
    throw unusable(cause);
  }
  try {
    const bytes = new Uint8Array(ENV_BLOCK_SIZE);
    const variables = parseEnvBlock(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
    if (variables === undefined) throw unusable();
    variables.set(VARIABLE, value);
    const block = printEnvBlock(variables);
    if (block === undefined) throw unusable();
    kernel.pwrite(fd, block, 0);
    kernel.fdatasync(fd);
  } finally {
    kernel.close(fd);
  }
}

function unusable(cause?: unknown): CosError {
  return new CosError(
    "SYSTEM_CALL",
    `Cannot count boot attempts: ${COUNTER_FILE} on the state partition is no environment block of GRUB.`,
    {
      hint: `Make it anew with: grub-editenv /run/initramfs/cos-state/${COUNTER_FILE} create`,
      cause,
    },
  );
}
