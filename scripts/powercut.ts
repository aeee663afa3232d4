/**
 * Cuts the power at every flush, and in between, of what the real program writes on a real kernel, and looks whether the
 * machine would still boot.
 *
 *   powercut.ts [--seed N] [--short] [--filesystem ext4|xfs|btrfs]
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { scratchDirectory } from "../test/lab/cleanup.ts";
import type { StateFilesystem } from "../test/lab/disk.ts";
import { cutLab, cutOperation, recordOperations } from "../test/lab/power-cut.ts";

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      short: { type: "boolean", default: false },
      filesystem: { type: "string", default: "ext4" },
    },
  });
  const settings = { seed: Number(values.seed), subsets: values.short ? 4 : 20 };
  // Each state is written anew, and flushed: in memory that costs nothing.
  if (existsSync("/dev/shm")) Deno.env.set("TMPDIR", "/dev/shm");
  await using scratch = scratchDirectory("powercut");
  const lab = await cutLab(scratch.path, values.filesystem as StateFilesystem);
  const sum = { states: 0, failed: 0, mixed: 0 };
  for (const operation of await recordOperations(lab)) {
    const started = Date.now(), result = await cutOperation(lab, operation, settings);
    console.log(
      `${operation.name}: ${result.states} states at ${result.flushes} flushes, ${result.failed} failed, ` +
        `${result.mixed} mixed; ${result.repairs} repaired (${((Date.now() - started) / 1000).toFixed(1)} s)`,
    );
    for (const [what, where] of result.failures) console.log(`  failed: ${what}; first ${where}`);
    for (const [what, where] of result.mixtures) console.log(`  mixed: ${what}; first ${where}`);
    for (const key of ["states", "failed", "mixed"] as const) sum[key] += result[key];
  }
  console.log(`${sum.states} states, ${sum.failed} failed, ${sum.mixed} mixed`);
  return sum.failed > 0 ? 1 : 0;
}

Deno.exitCode = await main(Deno.args);
