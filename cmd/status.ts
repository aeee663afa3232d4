import { status } from "../lib/operations/status.ts";
import { renderStatus } from "../lib/ui/status.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";

export async function runStatus(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, ({ system, print }) => {
    const found = status(system, flags);
    print(flags.json ? `${JSON.stringify({ schemaVersion: 1, ...found }, undefined, 2)}\n` : renderStatus(found));
  });
}
