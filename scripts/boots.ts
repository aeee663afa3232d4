/**
 * Real boots of virtual machines, scenario by scenario.
 *
 *   boots.ts [SCENARIO...] [--seed N] [--firmware bios|uefi]
 *   boots.ts --list | --packages
 */
import { parseArgs } from "node:util";
import { VM_PACKAGES, vmLab } from "../test/lab/vm/lab.ts";
import type { Firmware } from "../test/lab/vm/qemu.ts";
import { SCENARIOS } from "../test/lab/vm/scenarios/all.ts";
import { runScenario } from "../test/lab/vm/run-scenario.ts";

const FIRMWARES = ["bios", "uefi"] as const satisfies Firmware[];

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      firmware: { type: "string" },
      seed: { type: "string", default: "1" },
      list: { type: "boolean", default: false },
      packages: { type: "boolean", default: false },
    },
  });
  if (values.packages) return print(VM_PACKAGES.join("\n"));
  if (values.list) return print(SCENARIOS.map(({ name, shows }) => `${name.padEnd(14)}${shows}`).join("\n"));
  const unknown = positionals.filter((name) => !SCENARIOS.some((one) => one.name === name));
  const firmwares = FIRMWARES.filter((one) => values.firmware === undefined || one === values.firmware);
  const seed = Number(values.seed);
  if (unknown.length > 0) return usage(`unknown scenario: ${unknown.join(" ")} (try --list)`);
  if (firmwares.length === 0) return usage("--firmware is bios or uefi");
  if (!Number.isInteger(seed)) return usage("--seed wants a number");

  const chosen = SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  let failed = 0, done = 0;
  {
    await using lab = await vmLab(new Set(chosen.flatMap(({ needs }) => needs)));
    for (const firmware of firmwares) {
      for (const scenario of chosen) {
        const started = Date.now(), name = `${scenario.name}, ${firmware}`;
        const outcome = await runScenario(lab, scenario, { firmware, seed });
        const seconds = ((Date.now() - started) / 1000).toFixed(0);
        console.log(`${outcome.passed ? "ok" : "FAILED"}  ${name}: ${scenario.shows} (${seconds} s)`);
        if (!outcome.passed) console.log(`  ${outcome.message.replaceAll("\n", "\n  ")}\n  ${outcome.logs}`);
        else if (outcome.note !== undefined) console.log(`  ${outcome.note}`);
        done++;
        if (!outcome.passed) failed++;
      }
    }
  }
  console.log(`${done} scenarios, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function usage(problem: string): number {
  console.error(`boots: ${problem}`);
  return 2;
}

Deno.exitCode = await main(Deno.args);
