/** A boot that GRUB counts ends by itself when it hangs: a watchdog is started in the initramfs, and stopped by `cos boot good`. */
import { messageOf } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { readTextFile } from "../machine/files.ts";
import type { RootRequest } from "../machine/root-image.ts";
import { startWatchdog, stopWatchdog } from "../system/watchdog.ts";
import type { System } from "../system/system.ts";

/** `/run` is handed on from the initramfs to the system. */
const DIRECTORY = "/run/cos", NOTE = `${DIRECTORY}/watchdog`;
/** Seconds that a boot on trial may take until it is marked good, unless `cos.watchdog=` says another number. */
const BOOT_LIMIT = 600;

/** Only where GRUB has counted this boot: nothing would count a reset of another one, and it might go on for ever. */
export function beginBootWatch(system: System, { counted, watchdog = BOOT_LIMIT }: RootRequest, events: Events): void {
  if (!counted || watchdog === 0) return;
  const warn = (why: string) =>
    events({ kind: "warning", text: `No watchdog can be started${why}: a boot that hangs will not end by itself.` });
  try {
    const name = startWatchdog(system.kernel, system.pid, watchdog);
    if (name === undefined) return warn("");
    Deno.mkdirSync(DIRECTORY, { recursive: true });
    Deno.writeTextFileSync(NOTE, `${name}\n`);
  } catch (thrown) {
    // A boot without a watchdog is better than none.
    warn(` (${messageOf(thrown)})`);
  }
}

/** The boot has ended well, or what decides about it has a time limit of its own. */
export function endBootWatch(system: System, events: Events): void {
  try {
    const name = readTextFile(NOTE)?.trim();
    if (name === undefined) return;
    // Where systemd feeds it by now, it is systemd's.
    stopWatchdog(system.kernel, system.pid, name);
    Deno.removeSync(NOTE);
  } catch (thrown) {
    // A good system is marked all the same: unmarked it would fall back.
    events({ kind: "warning", text: `The watchdog of this boot could not be stopped: ${messageOf(thrown)}.` });
  }
}
