/** `cOS/trust/ID.json`: what this machine has seen of a repository's content trust (`lib/formats/known-trust.ts`). */
import {
  type KnownTrust,
  MAX_KNOWN_TRUST,
  parseKnownTrust,
  printKnownTrust,
  type Remembered,
} from "../formats/known-trust.ts";
import { hasErrno, type Kernel, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../system/kernel.ts";
import { withPlainFile, writePlainFile } from "../system/plain-files.ts";
import { IMAGE_DIRECTORY } from "./slots.ts";

const DIRECTORY = `${IMAGE_DIRECTORY}/trust`;
/** What is being written; a cut run can leave it. */
export const NEW_TRUST = `${IMAGE_DIRECTORY}/trust.new`;

/** On the state partition. @param id SHA-256 of the repository's name, in hex. */
export function trustFile(id: string): string {
  return `${DIRECTORY}/${id}.json`;
}

/** Undefined where there is no such file. @param state the partition's top directory. */
export function loadTrust(kernel: Kernel, state: number, id: string, gun: string): Remembered | undefined {
  const found = withPlainFile(kernel, state, trustFile(id), (fd, { size }) => {
    const bytes = new Uint8Array(Math.min(size, MAX_KNOWN_TRUST + 1));
    return parseKnownTrust(bytes.subarray(0, kernel.pread(fd, bytes, 0)), gun);
  });
  if (found === "absent") return undefined;
  return found === "odd" || found === undefined
    ? { damaged: `${trustFile(id)} on the state partition` }
    : { known: found };
}

/** Whole or not at all, whenever the power goes. */
export function storeTrust(kernel: Kernel, state: number, id: string, known: KnownTrust): void {
  for (const path of [IMAGE_DIRECTORY, DIRECTORY]) {
    try {
      kernel.mkdirat(state, path, 0o755);
    } catch (thrown) {
      if (!hasErrno(thrown, "EEXIST")) throw thrown;
    }
  }
  writePlainFile(kernel, state, NEW_TRUST, printKnownTrust(known));
  kernel.renameat(state, NEW_TRUST, state, trustFile(id));
  for (const path of [DIRECTORY, IMAGE_DIRECTORY]) {
    const directory = kernel.openat(state, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      kernel.fsync(directory);
    } finally {
      kernel.close(directory);
    }
  }
}
