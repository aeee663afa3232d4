/** Reading and writing `cOS/state.json`, and its copy on the recovery partition. */
import { type Kernel, O_RDONLY } from "../system/kernel.ts";
import { removeIfThere, withPlainFile, writePlainFile } from "../system/plain-files.ts";
import { emptyRecord, type InstallRecord, parseRecord, printRecord, RECORD_VERSION } from "../formats/record.ts";
import { IMAGE_DIRECTORY } from "./slots.ts";

const FILE = `${IMAGE_DIRECTORY}/state.json`;
/** What is being written; a cut run can leave it. */
export const NEW_RECORD = `${IMAGE_DIRECTORY}/state.json.new`;
const DAMAGED_FILE = `${IMAGE_DIRECTORY}/state.json.damaged`;
const MAX_SIZE = 4 * 1024 * 1024;

export interface LoadedRecord {
  record: InstallRecord;
  /** `newer`: written by a later major version; it may be read, not written. */
  condition: "present" | "absent" | "damaged" | "newer";
}

/** @param partition the top directory of the state or recovery partition. */
export function loadRecord(kernel: Kernel, partition: number): LoadedRecord {
  const found = withPlainFile(kernel, partition, FILE, (fd, { size }) => {
    const bytes = new Uint8Array(Math.min(size, MAX_SIZE + 1));
    return size > MAX_SIZE ? undefined : parseRecord(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
  });
  if (found === "absent") return { record: emptyRecord(), condition: "absent" };
  if (found === "odd" || found === undefined) return { record: emptyRecord(), condition: "damaged" };
  return { record: found, condition: Math.floor(found.schemaVersion) > RECORD_VERSION ? "newer" : "present" };
}

/** Whole or not at all, whenever the power goes. A damaged record is kept beside the new one. */
export function storeRecord(kernel: Kernel, partition: number, { record, condition }: LoadedRecord): void {
  if (condition === "newer") return;
  if (condition === "damaged") kernel.renameat(partition, FILE, partition, DAMAGED_FILE);
  // It holds what hooks printed: that is nobody's but root's.
  writePlainFile(kernel, partition, NEW_RECORD, printRecord(record), 0o600);
  kernel.renameat(partition, NEW_RECORD, partition, FILE);
  const dir = kernel.openat(partition, IMAGE_DIRECTORY, O_RDONLY);
  try {
    kernel.fsync(dir);
  } finally {
    kernel.close(dir);
  }
}

/** For a deployment that is undone: the partition held no record before. */
export function removeRecord(kernel: Kernel, partition: number): void {
  for (const file of [FILE, NEW_RECORD]) removeIfThere(kernel, partition, file);
}
