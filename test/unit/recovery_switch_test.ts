/** The switch of the recovery system, cut at every point for a reader of the journal and for one that reads none. */
import assert from "node:assert/strict";
import {
  planRecoveryRepair,
  planRecoverySwitch,
  recoveryNames,
  type RecoveryStep,
} from "../../lib/state/recovery-switch.ts";

type Names = Map<string, number>;

function apply(names: Names, step: RecoveryStep): Names {
  const next = new Map(names);
  if (step.do === "link" || step.do === "rename") {
    const id = next.get(step.from);
    assert.ok(id !== undefined, `no ${step.from}`);
    assert.ok(step.do === "rename" || !next.has(step.to), `${step.to} exists`);
    next.set(step.to, id);
    if (step.do === "rename") next.delete(step.from);
  } else if (step.do === "remove") assert.ok(next.delete(step.name), `no ${step.name}`);
  return next;
}

/** What Linux and GRUB may see after a cut: GRUB any state since the last checkpoint that Linux has passed. */
function* cuts(start: Names, steps: readonly RecoveryStep[]): Generator<{ linux: Names; grub: Names }> {
  let now = start, stages = [start];
  yield { linux: start, grub: start };
  for (const step of steps) {
    now = apply(now, step);
    stages = step.do === "checkpoint" ? [now] : [...stages, now];
    for (const [i, linux] of stages.entries()) for (const grub of stages.slice(0, i + 1)) yield { linux, grub };
  }
}

const NEW = 1, OLD = 2;
const set = (names: Names) => new Set(names.keys());

Deno.test("every cut leaves a complete recovery system, also for GRUB; repair finishes it, and finds nothing the second time", () => {
  for (const target of ["recovery.img", "recovery.squashfs"] as const) {
    const names = recoveryNames(target);
    for (const old of [true, false]) {
      const start: Names = new Map([[names.transition, NEW], ...(old ? [[names.target, OLD] as const] : [])]);
      const steps = planRecoverySwitch(names, set(start));
      let states = 0;
      for (const { linux, grub } of cuts(start, steps)) {
        states++;
        const allocated = new Set(linux.values()), seen = grub.get(names.target);
        if (old) assert.ok(seen !== undefined && allocated.has(seen), "GRUB reads freed blocks, or nothing");
        if (old) assert.ok(linux.has(names.target));
        const repaired = planRecoveryRepair(names, set(linux)).reduce(apply, linux);
        assert.deepEqual(planRecoveryRepair(names, set(repaired)), []);
        assert.ok([...repaired.keys()].every((name) => name === names.target), `${[...repaired.keys()]}`);
        for (const cut of cuts(linux, planRecoveryRepair(names, set(linux)))) {
          if (old) assert.ok(cut.linux.has(names.target));
          const again = planRecoveryRepair(names, set(cut.linux)).reduce(apply, cut.linux);
          assert.deepEqual([...again.keys()], [...repaired.keys()]);
        }
      }
      assert.ok(states > (old ? 10 : 2));
      const end = steps.reduce(apply, start);
      assert.deepEqual([...end], [[names.target, NEW]]);
    }
    const lost: Names = new Map([[names.spare, OLD]]);
    assert.deepEqual([...planRecoveryRepair(names, set(lost)).reduce(apply, lost)], [[names.target, OLD]]);
  }
});
