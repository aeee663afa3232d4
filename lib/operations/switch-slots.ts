/** Carrying out a switch: what fails before the new system is bootable is undone, what fails after it is a warning. */
import { planUndo, type SwitchPlan } from "../state/switch.ts";
import type { Session, View } from "./session.ts";

/**
 * @param start the state that the plan was made for.
 * Throws what stopped it, with everything as it was; returns the warnings of what could not be done after it counted.
 */
export async function switchSlots(session: Session, start: View, plan: SwitchPlan): Promise<string[]> {
  // The first step of `after` makes the new system bootable, the second makes that durable for a boot loader.
  const commit = plan.after.slice(0, 2), rest = plan.after.slice(2);
  try {
    await session.run(plan.before);
    await session.run(commit);
  } catch (thrown) {
    session.events({ kind: "phase", phase: "undo", text: "Undoing what was begun" });
    await session.run(planUndo(start.state, session.look().state));
    throw thrown;
  }
  const warnings: string[] = [];
  for (const step of rest) {
    try {
      await session.run([step]);
    } catch (thrown) {
      // A retry that begins anew would destroy the good fallback: the switch is done, and repair finishes what is left.
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      warnings.push(`The new system is in place, but tidying up failed (${why}); the next run of cos finishes it.`);
      break;
    }
  }
  for (const text of warnings) session.events({ kind: "warning", text });
  return warnings;
}
