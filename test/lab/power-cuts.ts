/** The states that a disk can be in when the power goes: prefixes of a write log, and less of what was not yet flushed. */
import { Random, seedOf } from "./random.ts";
import type { ReplayedDisk } from "./replayed-disk.ts";
import type { LogEntry } from "./write-log.ts";

export const SECTOR = 512;

export interface Cut {
  /** Where in the log: for a person who wants to look at it. */
  where: string;
  /** A checksum of the whole disk. */
  sum: string;
  /** Of a write of several sectors only some are there. */
  torn: boolean;
  /** The operation may have ended by then: all that it has flushed is there. */
  ended: boolean;
  /** All of the log is there. */
  last: boolean;
}

type Write = Extract<LogEntry, { do: "write" }>;

/**
 * Leaves `disk` in each state in turn, the state before the log first and the one after it last; what is there may be looked at
 * until the next one is asked for. States that are the same on the disk come once.
 * @param seed with a flush's number and a subset's it decides what is in that subset, whatever came before.
 * @param subsets tried for each flush: which of the writes before it and after the last one are there.
 */
export function* powerCuts(disk: ReplayedDisk, log: readonly LogEntry[], seed: string, subsets: number) {
  const seen = new Set<string>(), flushes = log.filter((entry) => entry.do === "flush").length;
  let pending: Write[] = [], flush = 0;
  const cut = (where: string, torn = false, last = false): Cut | undefined => {
    const sum = disk.sum();
    if (seen.has(sum) && !last) return undefined;
    seen.add(sum);
    return { where, sum, torn, ended: flush >= flushes, last };
  };
  const before = cut("before the first write");
  if (before !== undefined) yield before;
  for (const [index, entry] of [...log, { do: "flush" } as const].entries()) {
    if (entry.do === "write") {
      pending.push(entry);
      continue;
    }
    for (let n = 0; n < subsets && worthTrying(pending, n); n++) {
      disk.mark();
      const { whole, torn, inOrder } = chooseSome(disk, pending, new Random(seedOf(`${seed} ${flush} ${n}`)));
      const which = `${inOrder ? "in order " : ""}${whole} writes and ${torn} torn ones of ${pending.length}`;
      const found = cut(`before entry ${index}, ${which}`, torn > 0);
      if (found !== undefined) yield found;
      disk.back();
    }
    for (const { offset, data } of pending) disk.write(offset, data);
    pending = [];
    flush++;
    const found = cut(`at entry ${index}`, false, index === log.length);
    if (found !== undefined) yield found;
  }
}

/** One sector is there or not, and both are prefixes. */
function worthTrying(pending: readonly Write[], n: number): boolean {
  const sectors = pending.reduce((sum, { data }) => sum + data.length / SECTOR, 0);
  return sectors > 1 && (sectors > 10 || n < 2 ** sectors * 2);
}

/** What the disk has written by the cut: some in their order, or any of them; a write of several sectors whole or torn. */
function chooseSome(disk: ReplayedDisk, pending: readonly Write[], random: Random) {
  const inOrder = random.next(4) === 0, percent = random.pick([10, 50, 90]);
  const limit = 1 + random.next(pending.length);
  let whole = 0, torn = 0;
  for (const [i, { offset, data }] of pending.entries()) {
    const last = i === limit - 1;
    if (inOrder ? i >= limit : random.next(100) >= percent) continue;
    if (data.length === SECTOR || !(inOrder ? last : random.next(3) === 0)) {
      disk.write(offset, data);
      whole++;
      continue;
    }
    torn++;
    const share = random.next(101);
    for (let at = 0; at < data.length; at += SECTOR) {
      if (random.next(100) < share) disk.write(offset + at, data.subarray(at, at + SECTOR));
    }
  }
  return { whole, torn, inOrder };
}
