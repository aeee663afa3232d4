/** Mending what an earlier run left unfinished: the first thing that every operation does, here for its own sake. */
import type { Events } from "../base/events.ts";
import type { System } from "../system/system.ts";
import { Session, type StateOptions } from "./session.ts";

/** True where there was something to mend. */
export async function repair(system: System, options: StateOptions, events: Events): Promise<boolean> {
  await using session = await Session.open(system, options, events);
  return session.repaired;
}
