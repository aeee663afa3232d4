import { ERROR_CODES } from "../lib/base/errors.ts";
import { bootOnceInto, type Target } from "../lib/operations/next-entry.ts";
import { restart } from "../lib/operations/restart.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

export interface RebootFlags extends CommonFlags {
  readonly into: Target;
}

export async function runReboot(this: CosContext, flags: RebootFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    await bootOnceInto(system, flags, flags.into, events);
    const text = `The next boot, and only that, starts the ${flags.into} system.\n`;
    const restarts = await restart(system, "reboot", 0, events, signal);
    if (!restarts) this.exitStatus = ERROR_CODES.TOOL_FAILED.exit;
    print(flags.json ? resultJson("reboot", { into: flags.into, restarts, warnings }) : text);
  });
}
