/** Carrying out a switch: what fails before the new system is bootable is undone, what fails after it is a warning. */
import { CosError, messageOf } from "../base/errors.ts";
import { restoreCounter, saveCounter } from "../boot/counter.ts";
import { planUndo, type SwitchPlan } from "../state/switch.ts";
import type { Session, View } from "./session.ts";
import { keepStateYaml } from "./state-yaml.ts";

/**
 * @param start the state that the plan was made for.
 * Throws what stopped it, with everything as it was; returns the warnings of what could not be done after it counted.
 */
export async function switchSlots(session: Session, start: View, plan: SwitchPlan): Promise<string[]> {
  // The first step of `after` makes the new system bootable, the second makes that durable for a boot loader.
  const commit = plan.after.slice(0, 2), rest = plan.after.slice(2);
  const { system: { kernel }, partition } = session, variables = saveCounter(kernel, partition);
  try {
    await session.run(plan.before);
    await session.run(commit);
  } catch (thrown) {
    session.events({ kind: "phase", phase: "undo", text: "Undoing what was begun" });
    await undo(session, start, variables, thrown);
    throw thrown;
  }
  const warnings: string[] = [];
  for (const step of rest) {
    try {
      await session.run([step]);
    } catch (thrown) {
      // A retry that begins anew would destroy the good fallback: the switch is done, and repair finishes what is left.
      const why = messageOf(thrown);
      warnings.push(`The new system is in place, but tidying up failed (${why}); the next run of cos finishes it.`);
      break;
    }
  }
  for (const text of warnings) session.events({ kind: "warning", text, late: true });
  await keepStateYaml(session, start);
  return warnings;
}

/**
 * A checkpoint that fails does not stop it: names put back that are not safe yet are better than names not put back. Throws where
 * the disk refuses even that; then the next run mends it.
 */
async function undo(
  session: Session,
  start: View,
  variables: Uint8Array | undefined,
  reason: unknown,
): Promise<void> {
  let failure: unknown;
  try {
    for (const step of planUndo(start.state, session.look().state)) {
      try {
        await session.run([step]);
      } catch (thrown) {
        failure = thrown;
        if (step.do !== "checkpoint") break;
      }
    }
  } catch (thrown) {
    failure = thrown;
  }
  try {
    // Other programs' variables too: arming set them to their start values.
    restoreCounter(session.system.kernel, session.partition.fd, variables);
  } catch (thrown) {
    failure ??= thrown;
  }
  if (failure === undefined) return;
  throw new CosError(
    "SYSTEM_CALL",
    `The switch failed (${messageOf(reason)}), and so did undoing it (${messageOf(failure)}).`,
    {
      hint:
        "Both systems are still there. Look at the kernel's log (dmesg) for errors of the disk; when it works again, run: cos repair",
      cause: reason,
    },
  );
}
