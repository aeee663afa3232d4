import { bootGood } from "../lib/operations/boot-good.ts";
import { bootInstall, bootRemove } from "../lib/operations/boot-install.ts";
import { installInImage } from "../lib/operations/image-parts.ts";
import { bootRoot } from "../lib/operations/boot-root.ts";
import { bootRetry } from "../lib/operations/boot-retry.ts";
import { bootStatus } from "../lib/operations/boot-status.ts";
import { GOOD_TEXTS, renderBootStatus, renderImageParts, renderRoot } from "../lib/ui/boot.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";

export interface GoodFlags extends CommonFlags {
  readonly checks?: boolean;
  readonly checkTimeout?: number;
}

/** Seconds that one check may take. */
const CHECK_LIMIT = 60;

export async function runGood(this: CosContext, flags: GoodFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const checkLimit = (flags.checkTimeout ?? CHECK_LIMIT) * 1000;
    const outcome = await bootGood(
      system,
      { state: flags.state, checks: flags.checks === true, checkLimit },
      events,
      signal,
    );
    print(flags.json ? resultJson("boot good", { outcome, warnings }) : GOOD_TEXTS[outcome]);
  });
}

export async function runBootStatus(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, ({ system, print }) => {
    const found = bootStatus(system, flags);
    print(flags.json ? resultJson("boot status", found) : renderBootStatus(found));
  });
}

export async function runRetry(this: CosContext, flags: CommonFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, print, warnings }) => {
    const name = await bootRetry(system, flags, events);
    print(
      flags.json
        ? resultJson("boot retry", { name, tries: 3, warnings })
        : `On trial again, for 3 boots: ${name}. Reboot to try it.\n`,
    );
  });
}

export interface InstallFlags extends CommonFlags {
  readonly remove?: boolean;
  readonly image?: string;
}

export async function runInstall(this: CosContext, flags: InstallFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, print, warnings }) => {
    if (flags.image !== undefined) {
      const { written, next } = installInImage(flags.image, flags.remove === true, events);
      print(
        flags.json
          ? resultJson("boot install", {
            image: flags.image,
            removed: flags.remove === true,
            changed: written,
            warnings,
          })
          : renderImageParts(written, flags.remove === true, next),
      );
      return;
    }
    const changed = await (flags.remove ? bootRemove : bootInstall)(system, flags, events);
    if (flags.json) print(resultJson("boot install", { removed: flags.remove === true, changed, warnings }));
    else if (changed.length === 0) {
      print(flags.remove ? "There is nothing of ours to remove.\n" : "It is all there already.\n");
    } else print(`${flags.remove ? "Removed" : "Installed"}: ${changed.join(", ")}\n`);
  });
}

export interface RootFlags extends Pick<CommonFlags, "json" | "debug"> {
  readonly target?: string;
  readonly wait?: number;
}

/** Seconds that disks may take to appear. */
const DISK_WAIT = 60;

export async function runRoot(this: CosContext, flags: RootFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const settings = { target: flags.target ?? "/sysroot", wait: flags.wait ?? DISK_WAIT };
    const root = await bootRoot(system, settings, events, signal);
    print(flags.json ? resultJson("boot root", { ...root, warnings }) : renderRoot(root));
  });
}
