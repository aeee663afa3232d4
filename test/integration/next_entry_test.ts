/** One boot into another system: what GRUB is told, what is refused, and that nothing of it stays. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseEnvBlock } from "../../lib/formats/env-block.ts";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { deployedMachine } from "../lab/deployed.ts";
import { mount } from "../lab/disk.ts";
import { blockOf } from "../lab/family-machine.ts";

const machineWithV1 = () =>
  deployedMachine({ v1: { more: mountPoints() }, v2: { more: mountPoints() } }, { stateMiB: 300 });

async function grubEnv(device: string): Promise<Record<string, string> | undefined> {
  await using mounted = await mount(device);
  const bytes = await Deno.readFile(join(mounted.path, "grubenv")).catch(() => undefined);
  return bytes === undefined ? undefined : Object.fromEntries(parseEnvBlock(bytes) ?? []);
}

async function put(device: string, variables: Record<string, string>): Promise<void> {
  await using mounted = await mount(device, "rw");
  Deno.writeFileSync(join(mounted.path, "grubenv"), blockOf(variables));
}

/** As it ends, with the last line of what people read. */
const ended = (
  { status, err }: { status: number; err: string },
) => [status, err.split("\n").find((line) => line.startsWith("Error: "))];

Deno.test("the entry of the next boot is chosen where GRUB reads it, the machine reboots, and cos boot good clears what is left", async () => {
  await using machine = await machineWithV1();
  const { oem, state } = machine.disk.partitions;
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  await using booted = await boot(machine, "active", {
    cmdline: "root=LABEL=COS_STATE cos-img/filename=/cOS/active.img",
  });
  const ran = await booted.cos("reboot", "--into", "passive");
  assert.deepEqual([ran.status, ran.out], [0, "The next boot, and only that, starts the passive system.\n"], ran.err);
  assert.deepEqual([await grubEnv(oem), await grubEnv(state)], [{ next_entry: "fallback" }, undefined]);
  assert.deepEqual(booted.restarts(), ["reboot "]);
  await put(oem, { next_entry: "recovery", saved_entry: "cos" });
  const good = await booted.cos("boot", "good");
  assert.equal(good.status, 0, good.err);
  assert.deepEqual(await grubEnv(oem), { saved_entry: "cos" });
});

Deno.test("where only the state partition has the file, as with older menus, it is that one", async () => {
  await using machine = await machineWithV1();
  const { oem, state } = machine.disk.partitions;
  await put(state, { saved_entry: "cos" });
  await using booted = await boot(machine, "active", { restartStatus: 1 });
  const ran = await booted.cos("reboot", "--into", "active", "--json");
  assert.equal(ran.status, 22);
  assert.equal(JSON.parse(ran.out).restarts, false);
  assert.deepEqual([await grubEnv(oem), await grubEnv(state)], [undefined, { saved_entry: "cos", next_entry: "cos" }]);
  await booted.cos("boot", "good");
  assert.deepEqual(await grubEnv(state), { saved_entry: "cos" });
});

Deno.test("a system that is not there, or that the entry would not find, is refused, and nothing reboots", async () => {
  await using machine = await machineWithV1();
  await using booted = await boot(machine, "active", { cmdline: "root=LABEL=COS_ACTIVE" });
  assert.deepEqual(ended(await booted.cos("reboot", "--into", "passive")), [
    24,
    "Error: Cannot boot into passive: active and passive are one image, and the fallback entry looks for another label.",
  ]);
  assert.deepEqual(ended(await booted.cos("reboot", "--into", "recovery")), [
    24,
    "Error: Cannot boot into recovery: there is no recovery system on this disk.",
  ]);
  assert.equal((await booted.cos("reboot")).status, 2);
  assert.equal(await grubEnv(machine.disk.partitions.oem), undefined);
  assert.deepEqual(booted.restarts(), []);
});
