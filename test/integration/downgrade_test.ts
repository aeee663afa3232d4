/** What is older than what ran well here is refused, unless somebody says that it is meant; a rollback never is. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { markingUnit, mountPoints } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine, good } from "../lab/deployed.ts";
import { mount } from "../lab/disk.ts";
import type { LabMachine } from "../lab/machine.ts";
import type { SmallOsOptions } from "../lab/small-os.ts";
import { noteImages } from "../../lib/operations/record-keeping.ts";
import { Session } from "../../lib/operations/session.ts";
import { realSystem } from "../../lib/system/system.ts";

const PRODUCT = "cos.product", VERSION = "org.opencontainers.image.version";

/** Tag, product, label and time of making of each image. */
const IMAGES = {
  "v1.0.0": { product: "os", label: "1.0.0", created: "2026-01-01T00:00:00Z" },
  "v2.0.0": { product: "os", label: "2.0.0", created: "2026-02-01T00:00:00Z" },
  "v3.0.0": { product: "os", label: "3.0.0", created: "2026-03-01T00:00:00Z" },
  "v1.5.0": { product: "os", label: undefined, created: "1970-01-01T00:00:01Z" },
  "v0.1.0": { product: "other", label: "0.1.0", created: "2026-01-01T00:00:00Z" },
} as const;
type Tag = keyof typeof IMAGES;

function machineWith(first: Tag): Promise<DeployedMachine> {
  const more = [...mountPoints(), ...markingUnit()];
  const images = Object.entries(IMAGES).map(([tag, { product, label, created }]): [string, SmallOsOptions] => [tag, {
    more,
    created,
    labels: { [PRODUCT]: product, ...label !== undefined && { [VERSION]: label } },
  }]);
  return deployedMachine(Object.fromEntries(images), { first, counts: true, stateMiB: 200 });
}

async function floors(machine: LabMachine): Promise<Record<string, string>> {
  await using state = await mount(machine.state);
  const record = JSON.parse(Deno.readTextFileSync(join(state.path, "cOS/state.json"))) as {
    floors?: Record<string, { version: string }>;
  };
  return Object.fromEntries(Object.entries(record.floors ?? {}).map(([name, { version }]) => [name, version]));
}

async function refused(machine: DeployedMachine, tag: Tag, why: RegExp): Promise<void> {
  const { status, err } = await machine.cos("upgrade", machine.image(tag), "--no-verify");
  assert.deepEqual([status, why.test(err)], [33, true], err);
}

Deno.test("only what ran well raises the floor, and what is below it is refused before and after it is unpacked", async () => {
  await using machine = await machineWith("v1.0.0");
  await machine.must("upgrade", machine.image("v3.0.0"), "--no-verify");
  assert.deepEqual(await floors(machine), {});
  // It never said that it is good: an older one may take its place.
  await machine.must("upgrade", machine.image("v2.0.0"), "--no-verify");
  await good(machine);
  assert.deepEqual(await floors(machine), { os: "v2.0.0" });
  await machine.must("upgrade", machine.image("v3.0.0"), "--no-verify");
  await good(machine);
  assert.deepEqual(await floors(machine), { os: "v3.0.0" });
  const before = await machine.slots();
  await refused(machine, "v1.0.0", /it is older \(version 1\.0\.0\) than what ran well here \(3\.0\.0\)\./);
  // The passive one ran well, and would need no fetching; but nobody rolls back by a tag that a registry moved.
  await refused(machine, "v2.0.0", /it is older \(version 2\.0\.0\) than what ran well here \(3\.0\.0\)\./);
  // Without a label only what is in the image tells.
  await refused(machine, "v1.5.0", /it is older \(version v1\.5\.0\) than what ran well here \(v3\.0\.0\)\./);
  assert.deepEqual(await machine.slots(), before);
  // Another product has its own floor, and a rollback asks nobody.
  await machine.must("upgrade", machine.image("v0.1.0"), "--no-verify", "--dry-run");
  await machine.must("rollback");
  assert.equal((await machine.slots()).active?.version, "v2.0.0");
});

Deno.test("an older image that is meant is recorded as such; the floor stays, also without the record", async () => {
  await using machine = await machineWith("v1.0.0");
  await machine.must("upgrade", machine.image("v3.0.0"), "--no-verify");
  await good(machine);
  const { err } = await machine.must("upgrade", machine.image("v1.0.0"), "--no-verify", "--allow-downgrade");
  assert.match(err, /age {6}OLDER than 3\.0\.0, which ran well here: allowed\n/);
  const { out } = await machine.must("status");
  assert.match(out, /age {6}OLDER than 3\.0\.0, which ran well here: allowed with --allow-downgrade by \S+\n/);
  await good(machine);
  assert.deepEqual(await floors(machine), { os: "v3.0.0" });
  {
    await using state = await mount(machine.state, "rw");
    Deno.removeSync(join(state.path, "cOS/state.json"));
  }
  // Its copy on the recovery partition knows.
  await refused(machine, "v2.0.0", /older \(version 2\.0\.0\)/);
  // And what is written in the place of the lost one, over that copy too, knows it still.
  await machine.must("rollback");
  await refused(machine, "v2.0.0", /older \(version 2\.0\.0\)/);
  assert.deepEqual(await floors(machine), { os: "v3.0.0" });
});

Deno.test("a switch that fails takes back its note in a record that was lost, and no floor with it", async () => {
  await using machine = await machineWith("v2.0.0");
  await good(machine);
  {
    await using state = await mount(machine.state, "rw");
    Deno.removeSync(join(state.path, "cOS/state.json"));
  }
  {
    await using session = await Session.open(await realSystem(), { state: machine.state }, () => {});
    const at = new Date(0).toISOString(), verification = { scheme: "skipped", at };
    const takeBack = noteImages(session, {
      "new": { source: "os", verification, installedAt: at, boot: "new", armed: false },
    });
    takeBack();
    assert.deepEqual(session.look().record.record.images, {});
  }
  assert.deepEqual(await floors(machine), { os: "v2.0.0" });
});
