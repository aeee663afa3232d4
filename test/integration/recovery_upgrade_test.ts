/** `cos upgrade --recovery` beside what is asked of every upgrade: a policy, hooks, a restart. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot, type BootOptions } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import type { DiskOptions } from "../lab/disk.ts";
import { type LabMachine, labMachine, type Ran } from "../lab/machine.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import * as t from "../lab/tar-writer.ts";

/** A machine with v1, which has these files besides; v2 is in the layout at `os` of its directory. */
async function machineWith(more: t.TarItem[] = [], disk: DiskOptions = {}): Promise<LabMachine> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await labMachine({ stateMiB: 300, ...disk })), layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: { more: [...mountPoints(), ...more] }, v2: { more: mountPoints() } });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  made.move();
  return machine;
}

/** Runs it on the machine, booted. */
async function upgraded(machine: LabMachine, words: readonly string[], options: BootOptions): Promise<[Ran, string[]]> {
  await using booted = await boot(machine, "active", options);
  const ran = await booted.cos("upgrade", "--recovery", "oci:/tmp/os:v2", "--no-verify", ...words);
  return [ran, booted.restarts()];
}

Deno.test("its hooks are run to the last, and it restarts only if that is said", async () => {
  await using machine = await machineWith();
  const log = '#!/bin/sh\necho "$COS_STAGE" >> /tmp/log\n',
    hooks = (stage: string) => `cos/hooks/${stage}-upgrade.d/10`;
  const options = { etc: Object.fromEntries(["before", "after", "post"].map((stage) => [hooks(stage), log])) };
  const [first, restarts] = await upgraded(machine, [], options);
  assert.deepEqual([first.status, restarts], [0, []], first.err);
  assert.equal(
    Deno.readTextFileSync(join(machine.directory, "log")),
    "before-upgrade\nafter-upgrade\npost-upgrade\n",
  );
  const [second, restarted] = await upgraded(machine, ["--reboot"], options);
  assert.deepEqual([second.status, restarted], [0, ["reboot "]], second.err);
});

Deno.test("from outside, where nothing is said, the installed active system's policy decides", async () => {
  const policy = JSON.stringify({ default: [{ type: "reject" }] });
  await using machine = await machineWith([t.directory("etc/cos"), t.file("etc/cos/policy.json", policy)]);
  const image = `oci:${join(machine.directory, "os")}:v2`;
  for (const words of [["upgrade", "--recovery", image], ["upgrade", image]]) {
    const { status, err } = await machine.cos(...words);
    assert.equal(status, 31, err);
    assert.match(err, /\/etc\/cos\/policy\.json of the active system/);
  }
});

Deno.test("a machine with a btrfs finds the recovery partition beside the one that it runs from", async () => {
  await using machine = await machineWith([], { stateFilesystem: "btrfs" });
  const [{ status, out, err }] = await upgraded(machine, [], {});
  assert.equal(status, 0, err);
  assert.match(out, /^The recovery system on \S+ is Small v2 now \(recovery\.img\):\n/);
});
