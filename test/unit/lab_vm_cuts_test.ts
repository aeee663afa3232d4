/** The lab's cuts of the power during an upgrade: when they come, and that an upgrade which fails by itself is not taken for one. */
import assert from "node:assert/strict";
import { cutDuring } from "../lab/vm/scenarios/cuts.ts";

/** A machine whose disk takes a byte and a flush each time it is asked, and whose upgrade ends with `end`. */
function machine(end: Promise<string>) {
  let written = 0;
  const cuts: number[] = [];
  return {
    cuts,
    guest: {
      power: {
        written: () => Promise.resolve({ bytes: written, flushes: written++ }),
        cut: () => Promise.resolve(void cuts.push(written)),
      },
      upgrade: () => end,
    },
  };
}

const NEVER = { bytes: Infinity, flushes: 0 };

Deno.test("the power goes when the disk has taken so much, or when the upgrade is through", async () => {
  const slow = Promise.withResolvers<string>(), first = machine(slow.promise);
  await cutDuring(first.guest, "v2", { bytes: 3, flushes: 5 });
  assert.deepEqual(first.cuts, [6]);
  // That a machine without power does not finish is no failure.
  slow.reject(new Error("The machine is off"));
  const second = machine(Promise.resolve(""));
  await cutDuring(second.guest, "v2", NEVER);
  assert.equal(second.cuts.length, 1);
});

Deno.test("an upgrade that fails before is told, and no power goes", async () => {
  const { guest, cuts } = machine(Promise.reject(new Error("Not enough space")));
  await assert.rejects(cutDuring(guest, "v2", NEVER), { message: "Not enough space" });
  assert.deepEqual(cuts, []);
});
