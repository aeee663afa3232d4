/** `--spread`: each machine has its own share of the time, always the same, and waiting it can be stopped. */
import assert from "node:assert/strict";
import { span } from "../../cmd/flags.ts";
import type { CosEvent } from "../../lib/base/events.ts";
import { shareOf, spread } from "../../lib/operations/spread.ts";
import { realSystem, wait } from "../../lib/system/system.ts";

Deno.test("shares of a thousand machines are spread evenly", async () => {
  const shares = await Promise.all(Array.from({ length: 1000 }, (_, i) => shareOf(`node-${i}`)));
  assert.ok(shares.every((share) => share >= 0 && share < 1));
  const tenths = Array.from({ length: 10 }, (_, i) => shares.filter((share) => Math.floor(share * 10) === i).length);
  // A hundred each; five standard deviations from it are 48. The names are always the same, so this never fails by chance.
  for (const count of tenths) assert.ok(count > 52 && count < 148, `${tenths}`);
  assert.equal(await shareOf("node-1"), await shareOf("node-1"));
});

Deno.test("the wait is told, is the machine's share, and ends with a signal's reason", async () => {
  const events: CosEvent[] = [], waited: number[] = [], real = await realSystem();
  const never = new AbortController().signal;
  const system = { ...real, wait: (milliseconds: number) => Promise.resolve(void waited.push(milliseconds)) };
  await spread(system, 1800, (event) => events.push(event), never);
  await spread(system, 1800, () => undefined, never);
  const [first, second] = waited, seconds = (first ?? 0) / 1000;
  assert.equal(first, second);
  assert.ok(Number.isInteger(seconds) && seconds >= 0 && seconds < 1800);
  assert.deepEqual(events, [
    { kind: "wait", text: `Waiting ${seconds} of 1800 seconds, this machine's share (--spread)`, seconds },
  ]);
  const stop = new AbortController();
  const stopped = spread({ ...real, wait }, 1e6, () => stop.abort(new Error("stopped")), stop.signal);
  await assert.rejects(stopped, { message: "stopped" });
});

Deno.test("a time is digits with its unit, and of up to a week", () => {
  assert.deepEqual(["90s", "30m", "2h", "168h"].map(span), [90, 1800, 7200, 604800]);
  for (const wrong of ["", "30", "0m", "-1m", "1.5h", "30 m", "1d", "169h", "m"]) {
    assert.throws(() => span(wrong), {
      message: `${JSON.stringify(wrong)} is no time of up to a week (like 90s, 30m or 2h)`,
    });
  }
});
