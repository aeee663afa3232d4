/**
 * The switch of the recovery system. There is one name only, and nothing counts boots of it: what was there keeps a second name
 * until the new one is safe, so that at every instant one complete recovery system has the name. Pure.
 */

/** Names in `cOS/` of the recovery partition. */
export interface RecoveryNames {
  /** What boot entries ask for: `recovery.img` or `recovery.squashfs`. */
  target: string;
  /** What is being written. */
  transition: string;
  /** The second name of what is replaced. */
  spare: string;
}

export type RecoveryStep =
  | { do: "link" | "rename"; from: string; to: string }
  | { do: "remove"; name: string }
  | { do: "checkpoint" };

export function recoveryNames(target: "recovery.img" | "recovery.squashfs"): RecoveryNames {
  const suffix = target.slice("recovery".length);
  return { target, transition: `recovery-new${suffix}`, spare: `recovery-old${suffix}` };
}

/** @param present names that are there; `transition` is complete, and nothing is left of an earlier run. */
export function planRecoverySwitch(
  { target, transition, spare }: RecoveryNames,
  present: ReadonlySet<string>,
): RecoveryStep[] {
  const had = present.has(target), checkpoint: RecoveryStep = { do: "checkpoint" };
  return [
    ...had ? [{ do: "link", from: target, to: spare } as const, checkpoint] : [],
    { do: "rename", from: transition, to: target },
    checkpoint,
    ...had ? [{ do: "remove", name: spare } as const, checkpoint] : [],
  ];
}

/** What a cut has left; nothing to do twice in a row. */
export function planRecoveryRepair(
  { target, transition, spare }: RecoveryNames,
  present: ReadonlySet<string>,
): RecoveryStep[] {
  const checkpoint: RecoveryStep = { do: "checkpoint" };
  return [
    ...present.has(transition) ? [{ do: "remove", name: transition } as const, checkpoint] : [],
    ...!present.has(spare) ? [] : present.has(target)
      ? [{ do: "remove", name: spare } as const, checkpoint]
      // Only a hand can have done this.
      : [{ do: "rename", from: spare, to: target } as const, checkpoint],
  ];
}
