import { rollback } from "../lib/operations/rollback.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";

export async function runRollback(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const { after } = await rollback(system, flags, events, signal);
    if (flags.json) {
      print(`${JSON.stringify({ schemaVersion: 1, operation: "rollback", slots: after, warnings }, undefined, 2)}\n`);
    } else print(`Rolled back. The next boot starts the active system:\n${renderSlots(after)}`);
  });
}
