/** Recordings of operations, kept in a directory to be cut again exactly. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StateFilesystem } from "./disk.ts";
import type { Operation } from "./power-cut.ts";
import { run } from "./run.ts";
import { parseWriteLog, printWriteLog } from "./write-log.ts";

/** @param directory need not be there; recordings that are in it are written over. */
export async function keepRecordings(
  directory: string,
  filesystem: StateFilesystem,
  operations: readonly Operation[],
): Promise<void> {
  for (const [i, { base, log, ...operation }] of operations.entries()) {
    const place = join(directory, String(i).padStart(2, "0"));
    mkdirSync(place, { recursive: true });
    await run("cp", ["--sparse=always", base, join(place, "base.raw")]);
    writeFileSync(join(place, "writes.log"), printWriteLog(log));
    writeFileSync(join(place, "operation.json"), JSON.stringify({ filesystem, ...operation }, undefined, 2));
  }
}

/** Throws where they are of another filesystem. */
export function keptRecordings(directory: string, filesystem: StateFilesystem): Operation[] {
  return readdirSync(directory).sort().map((name) => {
    const place = join(directory, name);
    const { filesystem: kept, ...operation } = JSON.parse(readFileSync(join(place, "operation.json"), "utf8"));
    if (kept !== filesystem) throw new Error(`${place} is a recording on ${kept}: say --filesystem ${kept}`);
    const log = parseWriteLog(readFileSync(join(place, "writes.log")));
    return { ...operation, base: join(place, "base.raw"), log } as Operation;
  });
}
