/**
 * Reboots that somebody asked for, remembered: whether GRUB counts boots or not, a machine that was rebooted into a system and came
 * up with another is not rebooted again and again.
 */
import type { Digest } from "../base/digest.ts";
import { readTextFile } from "../machine/files.ts";
import { noteOperation } from "./record-keeping.ts";
import type { Session, View } from "./session.ts";
import { recordOf } from "./trial.ts";

const KIND = "suc-upgrade";
/** The kernel makes a new one at each boot (random(4)). */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

export function bootId(): string {
  return readTextFile(BOOT_ID)?.trim() ?? "";
}

/** Notes that the machine is about to be rebooted into the active system. @param image as people know it. */
export function noteReboot(session: Session, image: string): void {
  const active = recordOf(session.look(), "active");
  const at = new Date(session.system.now()).toISOString();
  noteOperation(session, {
    kind: KIND,
    at,
    outcome: "a reboot was asked for",
    image,
    uuid: active?.uuid,
    boot: bootId(),
  });
}

/** When a reboot into the active system was asked for that has led elsewhere; undefined where there was none. */
export function failedReboot(view: View, digest: Digest | undefined, boot: string): string | undefined {
  const active = recordOf(view, "active"), running = view.state.running;
  if (active?.image === undefined || digest === undefined || active.image.digest !== digest) return undefined;
  if (running === view.slots.names.active) return undefined;
  const last = view.record.record.operations.findLast(({ kind }) => kind !== "boot good" && kind !== "fallback");
  if (last?.kind !== KIND || last.uuid !== active.uuid || last.boot === boot) return undefined;
  return last.at;
}
