/** The lab's cuts of the power during some work: when they come, and that work which fails by itself is not taken for one. */
import assert from "node:assert/strict";
import { Random } from "../lab/random.ts";
import { cutDuring, momentIn, writtenBy } from "../lab/vm/scenarios/cuts.ts";

/** A machine whose disk takes a byte and a flush each time it is asked. */
function machine() {
  let written = 0;
  const cuts: number[] = [];
  return {
    cuts,
    power: {
      written: () => Promise.resolve({ bytes: written, flushes: written++ }),
      cut: () => Promise.resolve(void cuts.push(written)),
    },
  };
}

const NEVER = { bytes: Infinity, flushes: 0 };

Deno.test("the power goes when the disk has taken so much, or when the work is through", async () => {
  const slow = Promise.withResolvers<string>(), first = machine(), second = machine();
  assert.equal(await cutDuring(first.power, () => slow.promise, { bytes: 3, flushes: 5 }), false);
  assert.deepEqual(first.cuts, [6]);
  // That a machine without power does not finish is no failure.
  slow.reject(new Error("The machine is off"));
  assert.equal(await cutDuring(second.power, () => Promise.resolve(), NEVER), true);
  assert.equal(second.cuts.length, 1);
});

Deno.test("work that fails before is told, and no power goes", async () => {
  const { power, cuts } = machine();
  await assert.rejects(cutDuring(power, () => Promise.reject(new Error("Not enough space")), NEVER), {
    message: "Not enough space",
  });
  assert.deepEqual(cuts, []);
});

Deno.test("what the disk takes while something is done, and the moments in it", async () => {
  const whole = await writtenBy(machine().power, () => Promise.resolve());
  assert.deepEqual(whole, { bytes: 1, flushes: 1 });
  const random = new Random(1), moments = Array.from({ length: 50 }, (_, cut) => momentIn(whole, cut, random));
  assert.deepEqual([...new Set(moments.map(({ bytes, flushes }) => `${bytes} ${flushes}`))].sort(), ["0 0", "0 1"]);
});
