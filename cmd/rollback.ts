import { rollback } from "../lib/operations/rollback.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

export interface RollbackFlags extends CommonFlags {
  readonly retryBad?: boolean;
}

export async function runRollback(this: CosContext, flags: RollbackFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const { after } = await rollback(system, { state: flags.state, retryBad: flags.retryBad === true }, events, signal);
    if (flags.json) print(resultJson("rollback", { slots: after, warnings }));
    else print(`Rolled back. The next boot starts the active system:\n${renderSlots(after)}`);
  });
}
