import { buildInfo } from "../lib/base/build-info.ts";
import { CosError } from "../lib/base/errors.ts";
import { installLinks, removeLinks } from "../lib/operations/install-links.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";
import { LEGACY_NAMES, LINKED_NAMES } from "./legacy/names.ts";

export interface LinkFlags extends Omit<CommonFlags, "state"> {
  readonly remove?: boolean;
  readonly elemental?: boolean;
}

export async function runInstallLinks(this: CosContext, flags: LinkFlags, directory: string): Promise<void> {
  await runJob(this, flags, async ({ print }) => {
    if (buildInfo().commit === "development") throw noFile();
    const program = Deno.execPath(), removed = flags.remove === true;
    const changed = removed
      ? removeLinks(directory, LEGACY_NAMES, program)
      : await installLinks(directory, flags.elemental ? LEGACY_NAMES : LINKED_NAMES, program);
    if (flags.json) print(resultJson("install-links", { directory, removed, changed }));
    else if (changed.length === 0) print(removed ? "There are no links of ours.\n" : "They are all there already.\n");
    else print(`${removed ? "Removed" : "Made"} in ${directory}: ${changed.join(", ")}\n`);
  });
}

function noFile(): CosError {
  return new CosError(
    "USAGE",
    "Cannot make links to a checkout: only the one static file can be called by other names.",
    {
      hint: "Make it with scripts/build, and call that.",
    },
  );
}
