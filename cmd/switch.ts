import { switchTo } from "../lib/operations/switch-to.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";

export interface SwitchFlags extends CommonFlags {
  readonly acceptRunning?: boolean;
  readonly retryBad?: boolean;
}

export async function runSwitch(this: CosContext, flags: SwitchFlags, to: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const settings = {
      state: flags.state,
      to,
      acceptRunning: flags.acceptRunning === true,
      retryBad: flags.retryBad === true,
    };
    const slots = await switchTo(system, settings, events, signal);
    if (flags.json) {
      print(`${JSON.stringify({ schemaVersion: 1, operation: "switch", slots, warnings }, undefined, 2)}\n`);
    } else print(`Switched. The next boot starts the active system:\n${renderSlots(slots)}`);
  });
}
