/** The states that the power-cut harness looks at: which they are, and that they repeat. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { powerCuts } from "../lab/power-cuts.ts";
import { ReplayedDisk } from "../lab/replayed-disk.ts";
import { type LogEntry, parseWriteLog, positionIn, printWriteLog } from "../lab/write-log.ts";

const SIZE = 64 * 1024;
const write = (offset: number, sectors: number, byte: number): LogEntry => ({
  do: "write",
  offset,
  data: new Uint8Array(sectors * 512).fill(byte),
});
const FLUSH: LogEntry = { do: "flush" };

/** Each state as the places that are written and by what, with the words that tell of it. */
function statesOf(disk: string, log: LogEntry[], seed: string, subsets: number): string[] {
  const replayed = new ReplayedDisk(disk), states: string[] = [];
  for (const { where, torn, ended, last } of powerCuts(replayed, log, seed, subsets)) {
    const sectors = Array.from({ length: SIZE / 512 }, (_, i) => replayed.bytes[i * 512] ?? 0);
    const written = sectors.flatMap((byte, i) => byte === 0 ? [] : [`${i}=${byte}`]);
    states.push(`${where}${torn ? ", torn" : ""}${last ? ", last" : ended ? ", ended" : ""}: ${written.join(" ")}`);
  }
  return states;
}

Deno.test("prefixes at flushes come in order and once, the whole last; without subsets there is nothing else", async () => {
  await using scratch = scratchDirectory("cuts");
  const disk = join(scratch.path, "disk");
  writeFileSync(disk, new Uint8Array(SIZE));
  const log = [write(0, 1, 1), write(512, 2, 2), FLUSH, FLUSH, write(0, 1, 3), FLUSH, write(4096, 1, 4)];
  assert.deepEqual(statesOf(disk, log, "1", 0), [
    "before the first write: ",
    "at entry 2: 0=1 1=2 2=2",
    "at entry 5, ended: 0=3 1=2 2=2",
    "at entry 7, last: 0=3 1=2 2=2 8=4",
  ]);
});

Deno.test("subsets: every sector of what is not flushed can be missing, nothing that is flushed ever is", async () => {
  await using scratch = scratchDirectory("cuts");
  const disk = join(scratch.path, "disk");
  writeFileSync(disk, new Uint8Array(SIZE));
  const log = [write(0, 1, 1), FLUSH, write(512, 2, 2), write(2048, 1, 3), FLUSH];
  const all = Array.from({ length: 20 }, (_, seed) => statesOf(disk, log, String(seed), 200)).flat();
  const between = all.filter((state) => state.startsWith("before entry 4"));
  assert.deepEqual(
    new Set(between.map((state) => state.split(": ")[1])),
    // None of them and all of them are prefixes, which come by themselves.
    new Set(["0=1 1=2", "0=1 2=2", "0=1 1=2 2=2", "0=1 4=3", "0=1 1=2 4=3", "0=1 2=2 4=3", "0=1 1=2 2=2 4=3"]),
  );
  for (const state of between) assert.equal(/, torn:/.test(state), !/ 0 writes and 0|and 0 torn/.test(state), state);
});

Deno.test("which subsets are tried depends on the seed and the flush alone, not on what came before", async () => {
  await using scratch = scratchDirectory("cuts");
  const disk = join(scratch.path, "disk");
  writeFileSync(disk, new Uint8Array(SIZE));
  const second = [write(512, 8, 2), write(8192, 8, 3), write(16384, 8, 4), FLUSH];
  const tail = (first: LogEntry[], seed: string) =>
    statesOf(disk, [...first, ...second], seed, 30).filter((state) => /of 3/.test(state))
      .map((state) => state.replace(/^before entry \d+/, ""));
  const short = tail([write(0, 1, 1), FLUSH], "1");
  assert.ok(short.length > 10);
  assert.deepEqual(tail([write(0, 1, 1), FLUSH], "1"), short);
  assert.deepEqual(tail([write(0, 1, 9), write(0, 1, 1), FLUSH], "1"), short);
  assert.notDeepEqual(tail([write(0, 1, 1), FLUSH], "2"), short);
});

Deno.test("a log that was kept is read as it was", () => {
  const log = [write(0, 1, 1), FLUSH, write(8192, 8, 2), write(512, 3, 3), FLUSH];
  assert.deepEqual(
    parseWriteLog(printWriteLog(log)).map((entry) =>
      entry.do === "flush" ? entry : { ...entry, data: [...entry.data] }
    ),
    log.map((entry) => entry.do === "flush" ? entry : { ...entry, data: [...entry.data] }),
  );
});

Deno.test("a disk that nothing was written to has a log without a head, and is at its beginning", async () => {
  await using scratch = scratchDirectory("log");
  const log = join(scratch.path, "log"), entries: LogEntry[] = [{ do: "flush" }, { do: "flush" }];
  writeFileSync(log, "");
  assert.equal(positionIn(log), 0);
  writeFileSync(log, printWriteLog(entries));
  assert.equal(positionIn(log), 2);
});
