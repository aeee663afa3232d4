/** Real boots in short; scripts/boots has all of them. */
import assert from "node:assert/strict";
import { vmLab } from "../lab/vm/lab.ts";
import { runScenario } from "../lab/vm/run-scenario.ts";
import { inShort } from "../lab/vm/scenarios/short.ts";

Deno.test("a virtual machine upgrades itself, boots the new system, and falls back from one that panics", async () => {
  await using lab = await vmLab(inShort.needs, false);
  assert.deepEqual(await runScenario(lab, inShort, { firmware: "bios", seed: 1 }), { passed: true });
});
