/**
 * Cuts the power at every flush, and in between, of what the real program writes on a real kernel, and looks whether the
 * machine would still boot. What the words mean: scripts/powercut.
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { type Control, CONTROLS, judgedRightly, recordControls } from "../test/lab/cut-controls.ts";
import { recordRecoveryControls, RECOVERY_CONTROLS } from "../test/lab/cut-recovery-controls.ts";
import { GROUPS, recordOperations } from "../test/lab/cut-operations.ts";
import type { StateFilesystem } from "../test/lab/disk.ts";
import {
  type CutLab,
  cutLab,
  cutOperation,
  type CutResult,
  type CutSettings,
  type Operation,
  type SeenStates,
} from "../test/lab/power-cut.ts";
import { keepRecordings, keptRecordings } from "../test/lab/recordings.ts";

const FILESYSTEMS: readonly StateFilesystem[] = ["ext4", "xfs", "btrfs"];

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      short: { type: "boolean", default: false },
      controls: { type: "boolean", default: false },
      filesystem: { type: "string", default: "ext4" },
      group: { type: "string", multiple: true },
      keep: { type: "string" },
      log: { type: "string" },
    },
  });
  const filesystem = FILESYSTEMS.find((one) => one === values.filesystem);
  if (filesystem === undefined) throw new Error(`--filesystem ${values.filesystem}: use ${FILESYSTEMS.join(", ")}`);
  const groups = GROUPS.filter((one) => values.group?.includes(one) ?? true);
  if (groups.length < (values.group?.length ?? 0)) throw new Error(`--group: use ${GROUPS.join(", ")}`);
  const settings = { seed: Number(values.seed), subsets: values.short ? 4 : 40 };
  await using lab = await cutLab(filesystem);
  if (values.controls) {
    await recordOperations(lab, true, ["recovery"]);
    return await controls(lab, settings);
  }
  const operations = values.log === undefined
    ? await recordOperations(lab, values.short, groups)
    : keptRecordings(values.log, filesystem);
  if (values.keep !== undefined) await keepRecordings(values.keep, filesystem, operations);
  return await cutAll(lab, operations, settings);
}

async function cutAll(lab: CutLab, operations: readonly Operation[], settings: CutSettings): Promise<number> {
  const seen: SeenStates = new Map();
  let looks = 0;
  for (const operation of operations) looks += (await cutAndTell(lab, operation, settings, seen)).states;
  const count = (what: "failed" | "mixed" | "mixedOld") => [...seen.values()].filter((state) => state[what]).length;
  console.log(`with a grub.cfg that passes on no UUID: ${count("mixedOld")} mixed, each for one boot`);
  console.log(`${looks} looks; the states' digest: ${digestOf(seen.keys())}`);
  console.log(`${seen.size} states, ${count("failed")} failed, ${count("mixed")} mixed`);
  return count("failed") + count("mixed") > 0 ? 1 : 0;
}

/** The same for the same states, in whatever order they came. */
function digestOf(sums: Iterable<string>): string {
  return createHash("sha256").update([...sums].sort().join("\n")).digest("hex").slice(0, 16);
}

/** Each must be found wrong, but for the one that is right. */
async function controls(lab: CutLab, settings: CutSettings): Promise<number> {
  const here = ({ on }: Control) => on?.includes(lab.filesystem) ?? true;
  const slots = CONTROLS.filter(here), recovery = RECOVERY_CONTROLS.filter(here), chosen = [...slots, ...recovery];
  const operations = [...await recordControls(lab, slots), ...await recordRecoveryControls(lab, recovery)];
  const missed: string[] = [];
  for (const [i, operation] of operations.entries()) {
    const { failures } = await cutAndTell(lab, operation, settings), control = chosen[i];
    if (control === undefined || !judgedRightly(control, failures.keys())) missed.push(operation.name);
  }
  for (const name of missed) console.log(`the checks do not judge this control as they must: ${name}`);
  console.log(`${chosen.length} controls, ${missed.length} failed`);
  return missed.length > 0 ? 1 : 0;
}

async function cutAndTell(lab: CutLab, operation: Operation, settings: CutSettings, seen?: SeenStates) {
  const started = Date.now(), result = await cutOperation(lab, operation, settings, seen);
  console.log(`${operation.name}: ${figures(result)} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  for (const [what, where] of result.failures) console.log(`  failed: ${what}; first ${where}`);
  for (const [what, where] of result.mixtures) console.log(`  mixed: ${what}; first ${where}`);
  return result;
}

function figures({ states, flushes, failed, mixed, mixedOld, torn, lost, spent, repairs }: CutResult): string {
  return `${states} states at ${flushes} flushes, ${failed} failed, ${mixed} mixed (${mixedOld} with an older grub.cfg), ` +
    `${torn} with a torn superblock${
      lost > 0 ? ` (${lost} in all its copies)` : ""
    }, ${spent} that spend tries; ${repairs} repaired`;
}

Deno.exitCode = await main(Deno.args);
