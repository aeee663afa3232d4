/** What programs of this host need to run in a tree whose `/lib`, `/bin` and `/sbin` are links into `/usr`. */
import { readFileSync, realpathSync } from "node:fs";
import { run } from "./run.ts";
import * as t from "./tar-writer.ts";

/** Entries of the programs and of their libraries. */
export async function programEntries(programs: string[]): Promise<t.TarItem[]> {
  const files = [...programs, ...await libraries(programs)];
  return files.map((path) => t.file(merged(path), readFileSync(realpathSync(path)), { mode: 0o755 }));
}

const merged = (path: string) => path.replace(/^\/(usr\/)?/, "usr/");

async function libraries(programs: string[]): Promise<string[]> {
  const listed = await run("ldd", programs);
  return [...new Set([...listed.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path]) => path ?? ""))].sort();
}
