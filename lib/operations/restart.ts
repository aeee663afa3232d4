/** Rebooting or powering off when the work is done: what was done stays done, whatever becomes of that. */
import type { Events } from "../base/events.ts";
import { messageOf } from "../base/errors.ts";
import { mustRun } from "../system/process.ts";
import type { System } from "../system/system.ts";

export type Restart = "reboot" | "poweroff";

const WORDS: Record<Restart, { doing: string; name: string }> = {
  reboot: { doing: "Rebooting", name: "reboot" },
  poweroff: { doing: "Powering off", name: "power-off" },
};

/**
 * Returns whether it was asked for and will come; where it will not, that is a warning.
 * @param delay milliseconds in which a signal can still stop it.
 */
export async function restart(
  system: System,
  how: Restart,
  delay: number,
  events: Events,
  signal: AbortSignal,
): Promise<boolean> {
  const { programs } = system, { doing, name } = WORDS[how];
  try {
    events({ kind: "phase", phase: "restart", text: delay > 0 ? `${doing} in ${delay / 1000} seconds` : doing });
    if (delay > 0) await system.wait(delay, signal);
    signal.throwIfAborted();
    // As init likes it; where that does not answer (an initramfs, a rescue shell), by force: everything is on the disk.
    const { status } = await programs.run(how, []);
    if (status !== 0) await mustRun(programs, how, ["-f"], how === "reboot" ? "reboot" : "power off");
    return true;
  } catch (thrown) {
    const why = signal.aborted ? "it was stopped by a signal" : messageOf(thrown);
    events({ kind: "warning", text: `It is done, but the ${name} did not come: ${why}.` });
    return false;
  }
}
