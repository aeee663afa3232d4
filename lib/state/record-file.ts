/** Reading and writing `cOS/state.json`, and its copy on the recovery partition. */
import {
  hasErrno,
  isRegular,
  type Kernel,
  O_CREAT,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "../system/kernel.ts";
import { emptyRecord, type InstallRecord, parseRecord, printRecord, RECORD_VERSION } from "../formats/record.ts";
import { IMAGE_DIRECTORY } from "./slots.ts";

const FILE = `${IMAGE_DIRECTORY}/state.json`;
const NEW_FILE = `${IMAGE_DIRECTORY}/state.json.new`;
const DAMAGED_FILE = `${IMAGE_DIRECTORY}/state.json.damaged`;
const MAX_SIZE = 4 * 1024 * 1024;

export interface LoadedRecord {
  record: InstallRecord;
  /** `newer`: written by a later major version; it may be read, not written. */
  condition: "present" | "absent" | "damaged" | "newer";
}

/** @param partition the top directory of the state or recovery partition. */
export function loadRecord(kernel: Kernel, partition: number): LoadedRecord {
  let fd;
  try {
    fd = kernel.openat(partition, FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ENOTDIR")) return { record: emptyRecord(), condition: "absent" };
    if (hasErrno(thrown, "ELOOP", "ENXIO")) return { record: emptyRecord(), condition: "damaged" };
    throw thrown;
  }
  try {
    const status = kernel.fstat(fd), { size } = status;
    if (!isRegular(status)) return { record: emptyRecord(), condition: "damaged" };
    const bytes = new Uint8Array(Math.min(size, MAX_SIZE + 1));
    const record = size > MAX_SIZE ? undefined : parseRecord(bytes.subarray(0, kernel.pread(fd, bytes, 0)));
    if (record === undefined) return { record: emptyRecord(), condition: "damaged" };
    return { record, condition: Math.floor(record.schemaVersion) > RECORD_VERSION ? "newer" : "present" };
  } finally {
    kernel.close(fd);
  }
}

/** Whole or not at all, whenever the power goes. A damaged record is kept beside the new one. */
export function storeRecord(kernel: Kernel, partition: number, { record, condition }: LoadedRecord): void {
  if (condition === "newer") return;
  if (condition === "damaged") kernel.renameat(partition, FILE, partition, DAMAGED_FILE);
  const fd = kernel.openat(partition, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
  try {
    kernel.write(fd, printRecord(record));
    kernel.fsync(fd);
  } finally {
    kernel.close(fd);
  }
  kernel.renameat(partition, NEW_FILE, partition, FILE);
  const dir = kernel.openat(partition, IMAGE_DIRECTORY, O_RDONLY);
  try {
    kernel.fsync(dir);
  } finally {
    kernel.close(dir);
  }
}

/** For a deployment that is undone: the partition held no record before. */
export function removeRecord(kernel: Kernel, partition: number): void {
  for (const file of [FILE, NEW_FILE]) {
    try {
      kernel.unlinkat(partition, file);
    } catch (thrown) {
      if (!hasErrno(thrown, "ENOENT")) throw thrown;
    }
  }
}
