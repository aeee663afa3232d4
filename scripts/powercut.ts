/**
 * Cuts the power at every flush, and in between, of what the real program writes on a real kernel, and looks whether the
 * machine would still boot.
 *
 *   powercut.ts [--seed N] [--short] [--controls] [--filesystem ext4|xfs]
 */
import { parseArgs } from "node:util";
import { CONTROLS, judgedRightly } from "../test/lab/cut-controls.ts";
import { recordControls, recordOperations } from "../test/lab/cut-operations.ts";
import { type CutLab, cutLab, cutOperation, type CutResult, type Operation } from "../test/lab/power-cut.ts";

interface Settings {
  seed: number;
  subsets: number;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      short: { type: "boolean", default: false },
      controls: { type: "boolean", default: false },
      filesystem: { type: "string", default: "ext4" },
    },
  });
  const { filesystem } = values;
  // GRUB's reader finds no holes of files on a btrfs with no_holes: what it reads there needs another way of looking.
  if (filesystem !== "ext4" && filesystem !== "xfs") throw new Error(`--filesystem ${filesystem}: use ext4 or xfs`);
  const settings = { seed: Number(values.seed), subsets: values.short ? 4 : 40 };
  await using lab = await cutLab(filesystem);
  const operations = await recordOperations(lab, values.short);
  return values.controls ? await controls(lab, settings) : await cutAll(lab, operations, settings);
}

async function cutAll(lab: CutLab, operations: readonly Operation[], settings: Settings): Promise<number> {
  const sum = { states: 0, failed: 0, mixed: 0 };
  for (const operation of operations) {
    const result = await cutAndTell(lab, operation, settings);
    for (const key of ["states", "failed", "mixed"] as const) sum[key] += result[key];
  }
  console.log(`${sum.states} states, ${sum.failed} failed, ${sum.mixed} mixed`);
  return sum.failed > 0 ? 1 : 0;
}

/** Each must be found wrong, but for the one that is right. */
async function controls(lab: CutLab, settings: Settings): Promise<number> {
  const missed: string[] = [];
  for (const [i, operation] of (await recordControls(lab, CONTROLS)).entries()) {
    const { failures } = await cutAndTell(lab, operation, settings), control = CONTROLS[i];
    if (control === undefined || !judgedRightly(control, failures.keys())) missed.push(operation.name);
  }
  for (const name of missed) console.log(`the checks do not judge this control as they must: ${name}`);
  console.log(`${CONTROLS.length} controls, ${missed.length} failed`);
  return missed.length > 0 ? 1 : 0;
}

async function cutAndTell(lab: CutLab, operation: Operation, settings: Settings): Promise<CutResult> {
  const started = Date.now(), result = await cutOperation(lab, operation, settings);
  console.log(
    `${operation.name}: ${result.states} states at ${result.flushes} flushes, ${result.failed} failed, ` +
      `${result.mixed} mixed, ${result.torn} with a torn superblock, ${result.spent} that spend tries; ${result.repairs} repaired (${
        ((Date.now() - started) / 1000).toFixed(1)
      } s)`,
  );
  for (const [what, where] of result.failures) console.log(`  failed: ${what}; first ${where}`);
  for (const [what, where] of result.mixtures) console.log(`  mixed: ${what}; first ${where}`);
  return result;
}

Deno.exitCode = await main(Deno.args);
