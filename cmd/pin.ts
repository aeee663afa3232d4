import { pin } from "../lib/operations/pin.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

export interface PinFlags extends CommonFlags {
  readonly remove?: boolean;
}

export async function runPin(this: CosContext, flags: PinFlags, of: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, print, warnings }) => {
    const remove = flags.remove === true, done = await pin(system, { state: flags.state, of, remove }, events);
    const name = done.of.name ?? done.of.version ?? done.of.uuid;
    if (flags.json) print(resultJson("pin", { system: done.of, changed: done.changed, warnings }));
    else if (!done.changed) print(`${name} is ${remove ? "not pinned" : "pinned"} already.\n`);
    else print(remove ? `No longer pinned: ${name}.\n` : `Pinned: ${name}. It stays until cos pin --remove.\n`);
  });
}
