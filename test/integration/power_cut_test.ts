/** A short form of scripts/powercut: the power goes at every flush of each operation, and at a few moments in between. */
import assert from "node:assert/strict";
import { CONTROLS, judgedRightly, recordControls } from "../lab/cut-controls.ts";
import { recordOperations } from "../lab/cut-operations.ts";
import { cutLab, cutOperation } from "../lab/power-cut.ts";

Deno.test("whenever the power goes, GRUB and Linux find a whole system and a way back, and repair mends the rest", async (t) => {
  await using lab = await cutLab();
  let states = 0;
  for (const operation of await recordOperations(lab, true)) {
    await t.step(operation.name, async () => {
      const result = await cutOperation(lab, operation, { seed: 1, subsets: 2 });
      assert.deepEqual([...result.failures], []);
      assert.equal(result.mixed, 0);
      states += result.states;
    });
  }
  assert.ok(states > 250, `only ${states} states were looked at`);

  await t.step("a wrong order of steps is found wrong, the right one is not", async () => {
    for (const [i, operation] of (await recordControls(lab, CONTROLS.slice(0, 2))).entries()) {
      const { failures } = await cutOperation(lab, operation, { seed: 1, subsets: 3 });
      assert.ok(judgedRightly(CONTROLS[i] ?? assert.fail(), failures.keys()), `${operation.name}: ${[...failures]}`);
    }
  });
});
