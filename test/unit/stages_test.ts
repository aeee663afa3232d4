/** What a stage of a tree consists of. */
import assert from "node:assert/strict";
import { planStage, type StageRoot } from "../../lib/stages/stages.ts";
import type { Kernel } from "../../lib/system/kernel.ts";

Deno.test("a place of cloud-config is looked into once, however often it is named: its stages are not for being run twice", () => {
  const kernel = { close: () => {} } as Partial<Kernel> as Kernel;
  const root: StageRoot = {
    directory: (path) => ["oem", "oem/", "srv", "srv/"].includes(path) ? 1 : undefined,
    isProgram: (path) => path === "usr/bin/yip",
    linkTarget: () => undefined,
  };
  const { programs } = planStage(kernel, root, "after-upgrade", ["/oem/", "/srv", "/srv/", "/nowhere"]);
  assert.deepEqual(programs.map(({ args }) => args.join(" ")), [
    "-s after-upgrade.before /oem /srv",
    "-s after-upgrade /oem /srv",
    "-s after-upgrade.after /oem /srv",
  ]);
});
