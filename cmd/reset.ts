import { environment } from "../lib/config/environment.ts";
import { operatorName } from "../lib/config/operator.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { reset } from "../lib/operations/reset.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CosContext, resultJson, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { machineSettings, sourceSettings, statementsOf } from "./settings.ts";

export interface ResetFlags extends ImageFlags {
  readonly resetPersistent?: boolean;
  readonly resetOem?: boolean;
}

export async function runReset(this: CosContext, flags: ResetFlags, image?: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const machine = await machineSettings(statementsOf(flags));
    const settings = sourceSettings(flags, machine, system, events);
    const slots = await reset(
      system,
      {
        ...settings,
        ...image !== undefined && { image: parseReference(image) },
        persistent: flags.resetPersistent === true,
        oem: flags.resetOem === true,
        by: operatorName(environment, system.kernel.getuid()),
      },
      events,
      signal,
    );
    if (flags.json) print(resultJson("reset", { slots, warnings }));
    else print(`Reset. The next boot starts the active system:\n${renderSlots(slots)}`);
  });
}
