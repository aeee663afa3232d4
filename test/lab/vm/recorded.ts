/** Work in a guest whose every write is recorded, and the disk as a cut of the power leaves it at any moment of that. */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../run.ts";
import { parseWriteLog, positionIn } from "../write-log.ts";
import type { BootOptions, Guest, VmMachine } from "./machine.ts";

export interface Recording {
  /** Moments of the work: after so many entries of the log. The first is that before it. */
  begin: number;
  end: number;
  /** Those at which the disk has just been told to keep what was written. */
  flushes: number[];
  /** Bytes that were written in the work. */
  bytes: number;
  /** Makes the machine's disk what it was at that moment. The machine is off. */
  cutAt(moment: number): Promise<void>;
}

/** Boots, does the work, and takes the power away. */
export async function record(
  machine: VmMachine,
  boot: (options: BootOptions) => Promise<Guest>,
  work: (guest: Guest) => Promise<unknown>,
): Promise<Recording> {
  const { disk } = machine, directory = dirname(disk), base = join(directory, "base.raw");
  const writeLog = join(directory, "writes");
  await run("cp", ["--sparse=always", disk, base]);
  writeFileSync(writeLog, "");
  let first: number, last: number;
  {
    await using guest = await boot({ writeLog });
    first = positionIn(writeLog);
    await work(guest);
    last = positionIn(writeLog);
    await guest.power.cut();
  }
  const log = readFileSync(writeLog), entries = parseWriteLog(log, last), begin = parseWriteLog(log, first).length;
  const flushes: number[] = [];
  let written = false, bytes = 0;
  for (const [i, entry] of entries.entries()) {
    if (i < begin) continue;
    if (entry.do === "write") {
      written = true;
      bytes += entry.data.length;
    } else if (written) {
      flushes.push(i);
      written = false;
    }
  }
  return {
    begin,
    end: entries.length,
    flushes,
    bytes,
    cutAt: async (moment) => {
      const made = `${disk}.new`;
      await run("cp", ["--sparse=always", base, made]);
      const fd = openSync(made, "r+");
      for (const entry of entries.slice(0, moment)) {
        if (entry.do === "write") writeSync(fd, entry.data, 0, entry.data.length, entry.offset);
      }
      closeSync(fd);
      renameSync(made, disk);
    },
  };
}
