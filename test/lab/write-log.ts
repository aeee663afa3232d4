/**
 * A disk whose every write and flush is recorded: a storage daemon of QEMU stands between a file and a loop device, so that the
 * real program works on it with the real kernel, and writes down what reaches the disk. The log has the format of the kernel's
 * dm-log-writes: a sector about the log, then for each entry one sector that describes it, and its data.
 */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { disposable } from "./cleanup.ts";
import { attach, isMountPoint } from "./disk.ts";

/** Debian packages that recording needs. */
export const WRITE_LOG_PACKAGES = ["qemu-system-common"];

export type LogEntry =
  | { do: "write"; offset: number; data: Uint8Array }
  /** All that was written before it is on the disk; of what comes after, anything may be, up to the next one. */
  | { do: "flush" };

const MAGIC = 0x6a736677736872n;
const FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8;

/** Throws where it is no log, or ends within an entry. */
export function parseWriteLog(bytes: Uint8Array, position = Infinity): LogEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 28 || view.getBigUint64(0, true) !== MAGIC || view.getBigUint64(8, true) !== 1n) {
    throw new Error("This is no write log");
  }
  const count = Math.min(recordsIn(view), position), sector = view.getUint32(24, true);
  const entries: LogEntry[] = [];
  let at = sector;
  for (let i = 0; i < count; i++) {
    if (at + 32 > bytes.length) throw new Error(`The write log ends before entry ${i} of ${count}`);
    const offset = Number(view.getBigUint64(at, true)) * sector;
    const length = Number(view.getBigUint64(at + 8, true)) * sector;
    const flags = Number(view.getBigUint64(at + 16, true));
    at += sector;
    const stored = (flags & (DISCARD | MARK)) === 0;
    if (stored && at + length > bytes.length) throw new Error(`The write log ends within entry ${i} of ${count}`);
    // What is discarded reads as zeros here: the worst that a disk can make of it.
    const data = stored ? bytes.subarray(at, at + length) : new Uint8Array((flags & DISCARD) === 0 ? 0 : length);
    if (stored) at += length;
    if ((flags & FLUSH) !== 0) entries.push({ do: "flush" });
    if (length > 0 && data.length > 0) entries.push({ do: "write", offset, data });
    // A write that is on the disk by its own order is taken for one with a flush: earlier ones may still be missing, but no
    // filesystem here relies on less.
    if ((flags & FUA) !== 0) entries.push({ do: "flush" });
  }
  return entries;
}

/** The same entries as a log. */
export function printWriteLog(entries: readonly LogEntry[]): Uint8Array {
  const sector = 512, parts: Uint8Array[] = [];
  const head = (...words: [at: number, value: bigint][]) => {
    const bytes = new Uint8Array(sector), view = new DataView(bytes.buffer);
    for (const [at, value] of words) view.setBigUint64(at, value, true);
    parts.push(bytes);
  };
  head([0, MAGIC], [8, 1n], [16, BigInt(entries.length)], [24, BigInt(sector)]);
  for (const entry of entries) {
    if (entry.do === "flush") head([16, BigInt(FLUSH)]);
    else {
      head([0, BigInt(entry.offset / sector)], [8, BigInt(entry.data.length / sector)]);
      parts.push(entry.data);
    }
  }
  return Buffer.concat(parts);
}

/** How many records a log holds by now; it has no head before the first. @param log its file. */
export function positionIn(log: string): number {
  const { buffer, byteOffset, byteLength } = readFileSync(log);
  return byteLength === 0 ? 0 : recordsIn(new DataView(buffer, byteOffset));
}

const recordsIn = (view: DataView) => Number(view.getBigUint64(16, true));

export interface RecordedDisk extends AsyncDisposable {
  /** The loop device. */
  device: string;
  /** How many records the log holds by now: what comes after can be left out. */
  position(): number;
  /** Ends the recording and gives what was written since it began, or up to a position. */
  finish(position?: number): Promise<LogEntry[]>;
}

/**
 * A disk with the contents of the file `base`, in `directory`, which holds nothing else of that name.
 * @param options for the loop device.
 */
export async function recordDisk(
  base: string,
  directory: string,
  name: string,
  options: string[] = [],
): Promise<RecordedDisk> {
  await using made = new AsyncDisposableStack();
  const [disk, log, exported] = ["raw", "log", "export"].map((kind) => join(directory, `${name}.${kind}`)) as [
    string,
    string,
    string,
  ];
  copyFileSync(base, disk);
  for (const path of [log, exported]) writeFileSync(path, "");
  const daemon = spawn("qemu-storage-daemon", [
    ...["--blockdev", `driver=file,node-name=disk,discard=unmap,filename=${disk}`],
    ...["--blockdev", `driver=file,node-name=log,filename=${log}`],
    ...[
      "--blockdev",
      "driver=blklogwrites,node-name=recorded,discard=unmap,file=disk,log=log,log-super-update-interval=1",
    ],
    ...["--export", `type=fuse,id=export,node-name=recorded,mountpoint=${exported},writable=on`],
  ], { stdio: ["ignore", "ignore", "pipe"], detached: true });
  let words = "";
  daemon.stderr.on("data", (chunk: Uint8Array) => words += new TextDecoder().decode(chunk));
  const ended = new Promise<void>((resolve) => {
    daemon.on("error", (error) => (words += error.message, resolve()));
    daemon.on("close", () => resolve());
  });
  const running = () => daemon.pid !== undefined && daemon.exitCode === null && daemon.signalCode === null;
  made.use(disposable(async () => {
    if (running()) daemon.kill("SIGTERM");
    await ended;
  }));
  for (let tries = 0; !isMountPoint(exported); tries++) {
    if (!running() || tries === 1000) throw new Error(`qemu-storage-daemon does not export the disk: ${words.trim()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const loop = made.use(await attach(exported, options));
  const kept = made.move();
  const close = () => kept.disposeAsync();
  return {
    device: loop.device,
    position: () => positionIn(log),
    finish: async (position) => {
      await close();
      return parseWriteLog(readFileSync(log), position);
    },
    [Symbol.asyncDispose]: close,
  };
}
