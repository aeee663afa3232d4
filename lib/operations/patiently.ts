/** Waiting for another run that is at work on the same state partition. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import type { System } from "../system/system.ts";

/** Seconds that are waited, unless the caller says otherwise: a run that begins beside another at boot ends soon. */
const LOCK_WAIT = 300;

/** Begins the work anew, once a second, while it throws `LOCKED`; that must be the first thing that it can throw. */
export async function patiently<T>(
  system: System,
  events: Events,
  signal: AbortSignal,
  work: () => Promise<T>,
  seconds = LOCK_WAIT,
): Promise<T> {
  for (let waited = 0;; waited++) {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof CosError) || thrown.code !== "LOCKED" || waited === seconds) throw thrown;
      if (waited === 0) events({ kind: "wait", text: "Another run of cos is at work; waiting for it", seconds });
      await system.wait(1000, signal);
    }
  }
}
