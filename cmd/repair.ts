import { repair } from "../lib/operations/repair.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

export async function runRepair(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, print, warnings }) => {
    const repaired = await repair(system, flags, events);
    if (flags.json) print(resultJson("repair", { repaired, warnings }));
    else print(repaired ? "Mended.\n" : "Nothing to mend.\n");
  });
}
