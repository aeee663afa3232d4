import { parseReference } from "../lib/formats/reference.ts";
import { deploy } from "../lib/operations/deploy.ts";
import { renderSlots } from "../lib/ui/status.ts";
import { type CosContext, resultJson, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, statementsOf } from "./settings.ts";

export async function runDeploy(this: CosContext, flags: ImageFlags, image: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const machine = await machineSettings(statementsOf(flags));
    const settings = imageSettings(parseReference(image), flags, machine, system, events);
    const slots = await deploy(system, settings, events, signal);
    if (flags.json) print(resultJson("deploy", { slots, warnings }));
    else print(`Deployed. The next boot starts the active system:\n${renderSlots(slots)}`);
  });
}
