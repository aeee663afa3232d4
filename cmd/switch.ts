import { switchTo } from "../lib/operations/switch-to.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

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
    if (flags.json) print(resultJson("switch", { slots, warnings }));
    else print(`Switched. The next boot starts the active system:\n${renderSlots(slots)}`);
  });
}
