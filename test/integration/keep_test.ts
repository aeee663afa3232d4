/** More than two systems: kept by upgrades, gone to by `cos switch`. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { markingUnit, mountPoints, variables } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine, good } from "../lab/deployed.ts";
import { mount } from "../lab/disk.ts";
import type { LabMachine } from "../lab/machine.ts";

interface Keeping extends DeployedMachine {
  upgrade(tag: string, ...flags: string[]): Promise<void>;
}

/** v1 is deployed, and all of them mark themselves good. */
async function keepingMachine(): Promise<Keeping> {
  const more = [...mountPoints(), ...markingUnit()];
  const images = Object.fromEntries(["v1", "v2", "v3", "v4", "v5"].map((tag) => [tag, { more }]));
  const machine = await deployedMachine(images, { counts: true, stateMiB: 200 });
  const upgrade = async (tag: string, ...flags: string[]) => {
    await good(machine);
    await machine.must("upgrade", machine.image(tag), "--no-verify", ...flags);
  };
  return { ...machine, upgrade };
}

/** Versions of active, passive, and what is kept, the newest first. */
async function systems(machine: LabMachine): Promise<string> {
  const { slots, kept } = JSON.parse((await machine.must("status", "--json")).out) as {
    slots: { version?: string }[];
    kept: { version?: string }[];
  };
  await using state = await mount(machine.state);
  const directory = join(state.path, "cOS/kept"), files = existsSync(directory) ? [...Deno.readDirSync(directory)] : [];
  assert.equal(files.length, kept.length);
  return [...slots, ...kept].map(({ version }) => version).join(" ");
}

Deno.test("upgrades keep as many systems as they are told, those that ran well, the newest first", async () => {
  await using machine = await keepingMachine();
  await machine.upgrade("v2", "--keep", "4");
  assert.equal(await systems(machine), "v2 v1");
  await machine.upgrade("v3", "--keep", "4");
  assert.equal(await systems(machine), "v3 v2 v1");
  await machine.upgrade("v4", "--keep", "4");
  assert.equal(await systems(machine), "v4 v3 v2 v1");
  await machine.upgrade("v5", "--keep", "4");
  assert.equal(await systems(machine), "v5 v4 v3 v2");
  assert.match(
    (await machine.must("status")).out,
    /^ {2}kept {5}Small v3, from oci:\S+:v3\n {2}kept {5}Small v2, from/m,
  );
  // Fewer are a wish as well; a repair has nothing to say about them.
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  await good(machine);
  await machine.must("upgrade", machine.image("v1"), "--no-verify", "--allow-downgrade");
  assert.equal(await systems(machine), "v1 v5");
});

Deno.test("cos switch goes to a kept system, which is not counted since it ran well, and keeps the one it gives up", async () => {
  await using machine = await keepingMachine();
  for (const tag of ["v2", "v3", "v4"]) await machine.upgrade(tag, "--keep", "4");
  await good(machine);
  await machine.must("switch", "v1");
  assert.equal(await systems(machine), "v1 v4 v3 v2");
  assert.equal((await variables(machine.state)).cos_tries ?? "", "");
  const { uuid } = (JSON.parse((await machine.must("status", "--json")).out) as { kept: { uuid: string }[] }).kept[1] ??
    {};
  await machine.must("switch", uuid?.slice(0, 8) ?? "");
  assert.equal(await systems(machine), "v2 v1 v4 v3");
  await machine.must("switch", "passive");
  assert.equal(await systems(machine), "v1 v2 v4 v3");
  // What never ran well is not worth keeping.
  await machine.must("upgrade", machine.image("v5"), "--no-verify", "--keep", "4");
  assert.equal(await systems(machine), "v5 v1 v4 v3");
  await machine.must("switch", "v4");
  assert.equal(await systems(machine), "v4 v1 v3");
  const none = await machine.cos("switch", "v9");
  assert.deepEqual([none.status, none.err], [
    24,
    `Error: Cannot switch to v9 on ${machine.state}: no such system is kept.\n  Kept besides the two slots: v3. The passive system: cos switch passive\n`,
  ]);
});

Deno.test("what is pinned stays through upgrades, a rollback and a reset, until it is pinned no longer", async () => {
  await using machine = await keepingMachine();
  const said = async (...words: string[]) => (await machine.must(...words)).out;
  assert.equal(await said("pin", "active"), "Pinned: Small v1. It stays until cos pin --remove.\n");
  assert.equal(await said("pin", "v1"), "Small v1 is pinned already.\n");
  assert.equal(await systems(machine), "v1 v1 v1");
  await machine.upgrade("v2");
  await machine.upgrade("v3");
  await machine.upgrade("v4", "--keep", "3");
  assert.equal(await systems(machine), "v4 v3 v2 v1");
  assert.match(await said("status"), /^ {2}kept {5}Small v2, from \S+\n {2}pinned {3}Small v1, from \S+$/m);
  assert.equal(await said("pin", "v4"), "Pinned: Small v4. It stays until cos pin --remove.\n");
  await good(machine);
  await machine.must("rollback");
  await machine.must("switch", "v1");
  assert.equal(await systems(machine), "v1 v3 v4 v2 v1");
  // What has a slot is nowhere to be switched to by its own name.
  const there = await machine.cos("switch", "v1");
  assert.deepEqual([there.status, there.err.split("\n")[0]], [
    24,
    `Error: Cannot switch to v1 on ${machine.state}: no such system is kept.`,
  ]);
  await machine.must("reset", machine.image("v5"), "--no-verify");
  assert.equal(await systems(machine), "v5 v5 v4 v2 v1");
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  await machine.must("verify", "--slot", "active");
  const none = await machine.cos("pin", "v9");
  assert.deepEqual([none.status, none.err], [
    24,
    `Error: Cannot pin v9 on ${machine.state}: no system here is called that.\n  Here are: v5, v4, v2, v1; or say active or passive. See: cos status\n`,
  ]);
  assert.equal(await said("pin", "--remove", "v1"), "No longer pinned: Small v1.\n");
  const { changed, system } = JSON.parse(await said("pin", "--remove", "v1", "--json"));
  assert.deepEqual([changed, system.version, system.pinned], [false, "v1", false]);
  await good(machine);
  await machine.must("upgrade", machine.image("v3"), "--no-verify", "--allow-downgrade");
  assert.equal(await systems(machine), "v3 v5 v4");
});

Deno.test("what a cut has left both kept and pinned is pinned, and is no longer once that is said", async () => {
  await using machine = await keepingMachine();
  for (const tag of ["v2", "v3"]) await machine.upgrade(tag, "--keep", "3");
  await machine.must("pin", "v1");
  {
    await using state = await mount(machine.state, "rw");
    const directory = join(state.path, "cOS/kept"), names = [...Deno.readDirSync(directory)].map(({ name }) => name);
    const pinned = names.find((name) => name.startsWith("pinned-")) ?? assert.fail();
    Deno.linkSync(join(directory, pinned), join(directory, pinned.replace("pinned-", "kept-")));
  }
  assert.match((await machine.must("status")).out, /^ {2}pinned {3}Small v1,/m);
  assert.equal((await machine.must("pin", "--remove", "v1")).out, "No longer pinned: Small v1.\n");
  assert.match((await machine.must("status")).out, /^ {2}kept {5}Small v1,/m);
  assert.equal(await systems(machine), "v3 v2 v1");
});
