/** Runs a scenario on a machine of its own, and keeps what the machine said where it fails. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { scratchDirectory } from "../cleanup.ts";
import type { VmLab } from "./lab.ts";
import { vmMachine } from "./machine.ts";
import type { Firmware } from "./qemu.ts";
import type { Scenario } from "./scenarios/scenario.ts";

const ROOT = join(import.meta.dirname ?? ".", "..", "..", "..");
/** Where the consoles of failed scenarios are kept. */
const KEPT = join(ROOT, ".cache", "boots");

export interface Failure {
  message: string;
  /** The directory of the consoles, one file a boot. */
  logs: string;
}

export type Outcome = { passed: true; note?: string } | ({ passed: false } & Failure);

export async function runScenario(
  lab: VmLab,
  scenario: Scenario,
  { firmware, seed }: { firmware: Firmware; seed: number },
): Promise<Outcome> {
  const kept = join(KEPT, `${scenario.name}-${firmware}`);
  rmSync(kept, { recursive: true, force: true });
  await using scratch = scratchDirectory("vm");
  try {
    const note = await scenario.run(await vmMachine(lab, firmware, scratch.path), seed);
    return note === undefined ? { passed: true } : { passed: true, note };
  } catch (error) {
    mkdirSync(kept, { recursive: true });
    for (const name of readdirSync(scratch.path).filter((one) => one.endsWith(".log"))) {
      copyFileSync(join(scratch.path, name), join(kept, name));
    }
    const message = error instanceof Error ? error.message : String(error);
    return { passed: false, message, logs: `what the machine said: ${relative(Deno.cwd(), kept)}` };
  }
}
