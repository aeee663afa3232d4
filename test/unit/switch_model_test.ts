import assert from "node:assert/strict";
import {
  type ImageId,
  type Intent,
  planRepair,
  planSwitch,
  slotToKeep,
  type SwitchStep,
} from "../../lib/state/switch.ts";
import {
  applySteps,
  boot,
  bootsForEver,
  check,
  checkUndo,
  type Disk,
  type Figures,
  type ModelImage,
  type ModelStep,
  type Names,
  newFigures,
  SLOT_LABELS,
  stateOf,
  type World,
} from "./switch_model.ts";

const A: ImageId = 1, P: ImageId = 2, N: ImageId = 3, X: ImageId = 4;

const PROVEN = { good: true, ranWell: true },
  UNTRIED = { good: true, ranWell: false },
  BAD = { good: false, ranWell: false };
const BROKEN = { ...BAD, broken: true };

function disk(names: Names, labels: [ImageId, string][], tries: string): Disk {
  return { linux: { ...names }, grub: { ...names }, labels: new Map(labels), tries };
}

function* worlds(images: [ImageId, Partial<ModelImage> & Pick<ModelImage, "good" | "ranWell">][], checksums = true) {
  for (const counts of [true, false]) {
    for (const matchesLabels of [true, false]) {
      for (const fragment of [true, false]) {
        for (const checksummed of checksums ? [true, false] : [false]) {
          const all = images.map(([id, image]): [ImageId, ModelImage] => [id, {
            marks: true,
            // What is new comes from this program, and has no checksums.
            checksummed: checksummed && id !== N,
            // Half of the worlds have no record of what is on trial.
            onTrial: matchesLabels ? false : undefined,
            ...image,
          }]);
          yield { counts, matchesLabels, fragment, images: new Map(all) } satisfies World;
        }
      }
    }
  }
}

/** Every state partition that has at least one slot, as any tool or accident may have left it. */
function* starts(): Generator<{ world: World; start: Disk; running: ImageId | undefined; what: string }> {
  for (const a of [PROVEN, UNTRIED, BAD, BROKEN]) {
    for (const p of [PROVEN, UNTRIED, BAD, BROKEN]) {
      if (a === BROKEN && p === BROKEN) continue;
      for (const world of worlds([[A, a], [P, p]])) {
        for (
          const names of [{ active: A, passive: P }, { active: A, passive: A }, { active: A }, {
            passive: P,
          }] as Names[]
        ) {
          if (names.passive !== P && p !== PROVEN) continue;
          if (names.active !== A && a !== PROVEN) continue;
          const both: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]];
          const swapped: [ImageId, string][] = [[A, SLOT_LABELS.passive], [P, SLOT_LABELS.active]];
          for (const labels of [both, swapped]) {
            for (const tries of world.counts ? ["", "3", "2", "1", "0"] : [""]) {
              for (const running of [undefined, A, P]) {
                if (running !== undefined && !Object.values(names).includes(running)) continue;
                if (running !== undefined && world.images.get(running)?.good !== true) continue;
                const what = `active ${names.active ?? "-"} passive ${names.passive ?? "-"} running ${running ?? "-"}`;
                yield { world, start: disk(names, labels, tries), running, what };
              }
            }
          }
        }
      }
    }
  }
}

function assertUnbroken(figures: Figures): void {
  const broken = [...figures.broken].map(([promise, { count, example }]) => `${count} × ${promise}, first: ${example}`);
  assert.deepEqual(broken, []);
}

function withNew(world: World, image: Partial<ModelImage> & Pick<ModelImage, "good" | "ranWell">): World {
  const made: ModelImage = { marks: true, checksummed: false, onTrial: image.marks ?? true, ...image };
  return { ...world, images: new Map([...world.images, [N, made]]) };
}

/** The repaired state and what must survive from it. */
function repaired(start: Disk, world: World, running: ImageId | undefined): Disk {
  const after = applySteps(start, planRepair(stateOf(start, world, running)));
  after.grub = { ...after.linux };
  return after;
}

Deno.test("every cut of every repair leaves a machine that boots and has lost nothing", () => {
  const figures = newFigures();
  let cases = 0;
  for (const { world, start, running, what } of starts()) {
    for (
      const leftovers of [
        {},
        { transition: N },
        { spare: X },
        { spare: A },
        { relink: P },
        { transition: N, spare: X },
        { transition: N, spare: X, relink: A },
      ] as Names[]
    ) {
      const all = new Map(world.images);
      all.set(N, { ...BAD, marks: true, checksummed: false });
      all.set(X, { ...PROVEN, marks: true, checksummed: false });
      const full: World = { ...world, images: all };
      const begun: Disk = {
        linux: { ...start.linux, ...leftovers },
        grub: { ...start.linux, ...leftovers },
        labels: new Map([...start.labels, [X, SLOT_LABELS.passive], [N, SLOT_LABELS.active]]),
        tries: start.tries,
      };
      if (!bootsForEver(begun, full)) continue;
      cases++;
      const steps = planRepair(stateOf(begun, full, running));
      const slots = [begun.linux.active, begun.linux.passive];
      const mustStay = [A, P].filter((id) => slots.includes(id) && full.images.get(id)?.ranWell === true);
      check({ name: `repair, ${what}`, world: full, start: begun, steps, mustStay }, figures);
    }
  }
  console.log(
    `repair: ${cases} cases, ${figures.states} states, ${figures.nested} more inside repairs, ${figures.mixed} mixed boots without the fragment`,
  );
  assertUnbroken(figures);
  assert.ok(figures.states > 10_000, `only ${figures.states} states`);
});

Deno.test("every cut of every upgrade leaves a machine that boots, keeps the system to keep, and can be undone", () => {
  const figures = newFigures();
  let cases = 0;
  for (const { world, start, running, what } of starts()) {
    for (const image of [UNTRIED, BAD]) {
      for (const marks of [true, false]) {
        // Without counting, or where it cannot mark itself, a new system that does not run is the operator's to leave.
        if (!image.good && (!world.counts || !marks)) continue;
        const full = withNew(world, { ...image, marks });
        const begun = repaired(start, full, running);
        if (!bootsForEver(begun, full)) continue;
        const before = stateOf(begun, full, running), keep = slotToKeep(before);
        if (keep === undefined) continue;
        // Only a system that ran well, or the one that runs now, can be fallen back to.
        const kept = before.names[keep];
        if (kept === undefined || full.images.get(kept)?.good !== true) continue;
        const ready: Disk = {
          linux: { ...begun.linux, transition: N },
          grub: { ...begun.grub, transition: N },
          labels: new Map([...begun.labels, [N, SLOT_LABELS.active]]),
          tries: begun.tries,
        };
        const plan = planSwitch(stateOf(ready, full, running), { kind: "upgrade", arm: marks });
        assert.ok(plan, `no plan for an upgrade, ${what}`);
        cases++;
        const checked = { name: `upgrade, ${what}`, world: full, start: ready, mustStay: [kept] };
        check({ ...checked, steps: [...plan.before, ...plan.after] }, figures);
        checkUndo(checked, plan, running, figures);
        const end = applySteps(ready, [...plan.before, ...plan.after]);
        assert.equal(end.linux.active, N);
        assert.equal(end.linux.passive, kept);
        assert.equal(end.linux.spare, undefined);
        if (full.counts) assert.equal(end.tries, marks ? "3" : "");
      }
    }
  }
  console.log(
    `upgrade: ${cases} cases, ${figures.states} states, ${figures.nested} more inside repairs, ${figures.mixed} mixed boots without the fragment`,
  );
  assertUnbroken(figures);
  assert.ok(figures.states > 10_000, `only ${figures.states} states`);
});

Deno.test("an image that could not boot is never the one to keep while another could", () => {
  for (
    const [a, p, kept] of [[BROKEN, UNTRIED, "passive"], [UNTRIED, BROKEN, "active"], [
      BROKEN,
      BROKEN,
      "active",
    ]] as const
  ) {
    for (const world of worlds([[A, a], [P, p]])) {
      const start = disk({ active: A, passive: P }, [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]], "");
      assert.equal(slotToKeep(stateOf(start, world, undefined)), kept);
    }
  }
});

Deno.test("repair stops counting tries of a system that is known not to be on trial, and leaves all others alone", () => {
  for (
    const [onTrial, tries, expected] of [[false, "3", ""], [false, "0", "0"], [true, "2", "2"], [
      undefined,
      "3",
      "3",
    ]] as const
  ) {
    const [world] = worlds([[A, { ...PROVEN, onTrial }], [P, PROVEN]], false);
    assert.ok(world?.counts);
    const start = disk({ active: A, passive: P }, [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]], tries);
    assert.equal(applySteps(start, planRepair(stateOf(start, world, A))).tries, expected);
  }
});

Deno.test("a machine whose tries are used up keeps the fallback that it rests on", () => {
  for (const world of worlds([[A, UNTRIED], [P, UNTRIED]])) {
    const labels: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]];
    const tries = world.counts ? "0" : "";
    const state = stateOf(disk({ active: A, passive: P }, labels, tries), world, undefined);
    assert.equal(slotToKeep(state), world.counts ? "passive" : "active");
  }
});

Deno.test("every cut of every rollback leaves a machine that boots, loses no system that ran well, and can be undone", () => {
  const figures = newFigures();
  let cases = 0;
  for (const { world, start, running, what } of starts()) {
    const begun = repaired(start, world, running);
    if (!bootsForEver(begun, world)) continue;
    for (const arm of [true, false]) {
      const target = begun.linux.passive;
      // An untried target that does not run and is not counted is, again, the operator's to leave.
      if (target !== undefined && !world.images.get(target)?.good && !(world.counts && arm)) continue;
      const plan = planSwitch(stateOf(begun, world, running), { kind: "rollback", arm });
      if (plan === undefined) continue;
      const keep = slotToKeep(stateOf(begun, world, running));
      const kept = keep === undefined ? undefined : begun.linux[keep];
      if (kept === undefined || world.images.get(kept)?.good !== true) continue;
      cases++;
      const swapped = begun.linux.active === A && (keep === "active" || world.images.get(A)?.ranWell === true);
      const mustStay = swapped ? [A, P] : [P];
      // Leaving an active system that nobody knows to be good, with entries that match labels and nothing that counts: there is
      // one step in which only the fallback entry works.
      const byHand = !swapped && !world.counts && world.matchesLabels;
      const checked = { name: `rollback, ${what}`, world, start: begun, mustStay, byHand };
      check({ ...checked, steps: [...plan.before, ...plan.after] }, figures);
      checkUndo(checked, plan, running, figures);
      const end = applySteps(begun, [...plan.before, ...plan.after]);
      assert.equal(end.linux.active, P);
      assert.equal(end.linux.passive, swapped ? A : P);
    }
  }
  console.log(
    `rollback: ${cases} cases, ${figures.states} states, ${figures.nested} more inside repairs, ${figures.mixed} mixed boots without the fragment`,
  );
  assertUnbroken(figures);
  assert.ok(figures.states > 5_000, `only ${figures.states} states`);
});

Deno.test("an upgrade that gives one boot only, cut anywhere, is as safe, and ends with one try", () => {
  const figures = newFigures();
  for (const { world, start, running, what } of starts()) {
    // The rest is the same as with three tries.
    if (!world.counts || running === undefined || !["", "0"].includes(start.tries)) continue;
    if ([...world.images.values()].some(({ checksummed }) => checksummed)) continue;
    for (const image of [UNTRIED, BAD]) {
      const full = withNew(world, image), begun = repaired(start, full, running);
      if (!bootsForEver(begun, full)) continue;
      const ready: Disk = {
        linux: { ...begun.linux, transition: N },
        grub: { ...begun.grub, transition: N },
        labels: new Map([...begun.labels, [N, SLOT_LABELS.active]]),
        tries: begun.tries,
      };
      const plan = planSwitch(stateOf(ready, full, running), { kind: "upgrade", arm: true, once: true });
      assert.ok(plan, what);
      const steps = [...plan.before, ...plan.after];
      const checked = { name: `upgrade once, ${what}`, world: full, start: ready, mustStay: [running] };
      check({ ...checked, steps }, figures);
      checkUndo(checked, plan, running, figures);
      const end = applySteps(ready, steps);
      assert.equal(end.tries, "1");
      if (image.good) assert.equal(boot(end, full).last.running, N);
      else assert.equal(boot(end, full).last.running, running);
    }
  }
  assertUnbroken(figures);
  assert.ok(figures.states > 1000, `only ${figures.states} states`);
});

Deno.test("boot good and boot retry, cut anywhere, leave a machine that boots and has lost nothing", () => {
  const figures = newFigures();
  const labels: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]];
  const names = { active: A, passive: P };
  for (const a of [PROVEN, UNTRIED, BAD]) {
    for (const onTrial of [true, undefined]) {
      for (const world of worlds([[A, { ...a, onTrial }], [P, PROVEN]])) {
        if (!world.counts) continue;
        for (const tries of a.good ? ["", "2", "1", "0"] : []) {
          const steps: ModelStep[] = [{ do: "tries", value: "" }];
          check({ name: "boot good", world, start: disk(names, labels, tries), steps, mustStay: [A, P] }, figures);
        }
        const steps: ModelStep[] = [{ do: "tries", value: "3" }];
        check({ name: "boot retry", world, start: disk(names, labels, "0"), steps, mustStay: [P] }, figures);
      }
    }
  }
  assertUnbroken(figures);
  assert.ok(figures.states > 200, `only ${figures.states} states`);
});

Deno.test("every cut of making both slots the active image leaves a machine that boots, and can be undone", () => {
  const figures = newFigures();
  let cases = 0;
  for (const { world, start, running, what } of starts()) {
    // A reset is done from outside, and its new system is good or nothing is left that is.
    if (running !== undefined || start.linux.active !== A || world.images.get(A)?.good !== true) continue;
    const begun = repaired(start, world, running);
    const plan = planSwitch(stateOf(begun, world, running), { kind: "settle" });
    assert.equal(plan === undefined, begun.linux.passive === A);
    if (plan === undefined || !bootsForEver(begun, world)) continue;
    cases++;
    const checked = { name: `settle, ${what}`, world, start: begun, mustStay: [A] };
    const steps = [...plan.before, ...plan.after];
    check({ ...checked, steps }, figures);
    checkUndo(checked, plan, running, figures);
    const end = applySteps(begun, steps);
    assert.deepEqual([end.linux, end.tries], [{ active: A, passive: A }, ""]);
  }
  assertUnbroken(figures);
  assert.ok(cases > 50 && figures.states > 500, `only ${cases} cases, ${figures.states} states`);
});

Deno.test("a deploy never shows GRUB an image that is not complete", () => {
  for (const world of worlds([[N, UNTRIED]], false)) {
    for (const tries of world.counts ? ["", "2", "0"] : [""]) {
      const start = disk({ transition: N }, [[N, SLOT_LABELS.active]], tries);
      const plan = planSwitch(stateOf(start, world, undefined), { kind: "deploy" });
      assert.ok(plan);
      const end = applySteps(start, [...plan.before, ...plan.after]);
      assert.equal(end.tries, world.counts ? "" : tries);
      assert.deepEqual(end.linux, { passive: N, active: N });
      assert.deepEqual(end.grub, end.linux);
      assert.equal(boot(end, world).last.running, N);
    }
  }
});

Deno.test("an intent that makes no sense in a state has no plan", () => {
  const [world] = worlds([[A, PROVEN], [P, PROVEN]]);
  assert.ok(world);
  const plan = (names: Names, intent: Intent, running?: ImageId) =>
    planSwitch(stateOf(disk(names, [[A, SLOT_LABELS.active]], ""), world, running), intent);
  assert.equal(plan({ active: A }, { kind: "deploy" }), undefined);
  assert.equal(plan({ active: A }, { kind: "rollback", arm: false }), undefined);
  assert.equal(plan({ active: A, passive: A }, { kind: "rollback", arm: false }), undefined);
  assert.equal(plan({ active: P, passive: P, spare: A }, { kind: "upgrade", arm: false }, A), undefined);
});

// ---- Controls: what older tools do, and what one would think of first. The model must find each of them wrong.

const STEPS_OF_OTHERS: Record<string, readonly ModelStep[]> = {
  "move the old one away, relabel, move the new one in": [
    { do: "rename", from: "active", to: "passive" },
    { do: "checkpoint" },
    { do: "label", name: "passive", label: SLOT_LABELS.passive },
    { do: "rename", from: "transition", to: "active" },
    { do: "checkpoint" },
  ],
  "exchange the names, relabel, rename": [
    { do: "tries", value: "3" },
    { do: "exchange", a: "transition", b: "active" },
    { do: "checkpoint" },
    { do: "label", name: "transition", label: SLOT_LABELS.passive },
    { do: "rename", from: "transition", to: "passive" },
    { do: "checkpoint" },
  ],
};

function controlFigures(steps: (world: World) => readonly ModelStep[]): Figures {
  const figures = newFigures();
  for (const p of [PROVEN, BAD]) {
    for (const world of worlds([[A, PROVEN], [P, p], [N, BAD]], false)) {
      if (!world.counts) continue;
      const labels: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive], [N, SLOT_LABELS.active]];
      const start = disk({ active: A, passive: P, transition: N }, labels, "");
      check({ name: "control", world, start, steps: steps(world), mustStay: [A] }, figures);
    }
  }
  return figures;
}

for (const [name, steps] of Object.entries(STEPS_OF_OTHERS)) {
  Deno.test(`control: the model finds states that do not boot when we ${name}`, () => {
    assert.ok(controlFigures(() => steps).broken.has("stuck"));
  });
}

const ours = (world: World, drop: (step: SwitchStep) => boolean): SwitchStep[] => {
  const labels: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive], [N, SLOT_LABELS.active]];
  const start = disk({ active: A, passive: P, transition: N }, labels, "");
  const plan = planSwitch(stateOf(start, world, A), { kind: "upgrade", arm: true });
  assert.ok(plan);
  return [...plan.before, ...plan.after].filter((step) => !drop(step));
};

Deno.test("control: our own order is found right where the wrong ones are found wrong", () => {
  assertUnbroken(controlFigures((world) => ours(world, () => false)));
});

Deno.test("control: the model finds states that do not boot when no checkpoint is made", () => {
  assert.ok(controlFigures((world) => ours(world, (step) => step.do === "checkpoint")).broken.has("stuck"));
});

Deno.test("control: the model finds states that do not boot when the old fallback gets no spare name", () => {
  const noSpare = (step: SwitchStep) =>
    (step.do === "link" && step.to === "spare") || (step.do === "remove" && step.name === "spare");
  const figures = newFigures();
  // The machine rests on a fallback whose name is taken over: an old view of GRUB leads into freed blocks.
  for (const world of worlds([[A, BAD], [P, PROVEN], [N, UNTRIED]], false)) {
    if (!world.counts) continue;
    const labels: [ImageId, string][] = [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive], [N, SLOT_LABELS.active]];
    const start = disk({ active: A, passive: P, transition: N }, labels, "0");
    const steps: ModelStep[] = [
      { do: "rename", from: "transition", to: "passive" },
      { do: "checkpoint" },
    ];
    check({
      name: "control",
      world,
      start,
      steps: steps.filter((s) => s.do === "checkpoint" || !noSpare(s as SwitchStep)),
      mustStay: [P],
    }, figures);
  }
  assert.ok(figures.broken.has("stuck"));
});

Deno.test("control: the model finds a machine that rests on the wrong system when a rollback leaves cos_tries at 0", () => {
  const figures = newFigures();
  for (const world of worlds([[A, PROVEN], [P, UNTRIED]], false)) {
    if (!world.counts) continue;
    const start = disk({ active: A, passive: P }, [[A, SLOT_LABELS.active], [P, SLOT_LABELS.passive]], "");
    const plan = planSwitch(stateOf(start, world, A), { kind: "rollback", arm: true });
    assert.ok(plan);
    const steps = [...plan.before, ...plan.after].map((step) => step.do === "tries" ? { ...step, value: "0" } : step);
    const end = applySteps(start, steps);
    if (boot(end, world).last.running === A) figures.states++;
  }
  assert.ok(figures.states > 0);
});
