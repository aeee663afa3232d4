import { repair } from "../lib/operations/repair.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";

export async function runRepair(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, print, warnings }) => {
    const repaired = await repair(system, flags, events);
    if (flags.json) {
      print(`${JSON.stringify({ schemaVersion: 1, operation: "repair", repaired, warnings }, undefined, 2)}\n`);
    } else print(repaired ? "Mended.\n" : "Nothing to mend.\n");
  });
}
