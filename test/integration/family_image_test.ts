/** A machine of the older tools is upgraded, rolled back and reset: what changes, file by file, in every partition. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { filesOf } from "../lab/disk-views.ts";
import { mount, type PartitionName } from "../lab/disk.ts";
import { familyMachine } from "../lab/family-machine.ts";
import { heldBy, type LabMachine } from "../lab/machine.ts";
import { listTree } from "../lab/tree.ts";

/** What is known of a path, by field; of an image the content without the label, then the label and the UUID. */
type Facts = Record<string, unknown>;
type Snapshot = Record<PartitionName, Map<string, Facts>>;
/** By partition, then path: "added", "removed", or the names of the fields that changed. */
type Difference = Partial<Record<PartitionName, Record<string, string>>>;

async function snapshot({ disk }: LabMachine): Promise<Snapshot> {
  const found: Partial<Snapshot> = {};
  for (const [name, device] of Object.entries(disk.partitions) as [PartitionName, string][]) {
    if (!["oem", "state", "recovery", "persistent"].includes(name)) continue;
    await using mounted = await mount(device);
    const files = new Map<string, Facts>();
    for (const { path, mtime, ...facts } of await listTree(mounted.path)) {
      // A directory's time follows from what is told of its entries.
      files.set(path, facts.type === "directory" ? facts : { ...facts, mtime });
    }
    for (const [file, { label, uuid, digest }] of filesOf(mounted.path)) {
      const path = join("cOS", file), { sha256: _withLabel, ...facts } = files.get(path) ?? {};
      if (label !== undefined) files.set(path, { ...facts, digest, label, uuid });
    }
    found[name] = files;
  }
  return found as Snapshot;
}

function difference(before: Snapshot, after: Snapshot): Difference {
  const all: Difference = {};
  for (const name of Object.keys(before) as PartitionName[]) {
    const changes: Record<string, string> = {};
    for (const path of [...new Set([...before[name].keys(), ...after[name].keys()])].sort()) {
      const one = before[name].get(path), other = after[name].get(path);
      if (one === undefined || other === undefined) {
        changes[path] = one === undefined ? "added" : "removed";
        continue;
      }
      const fields = [...new Set([...Object.keys(one), ...Object.keys(other)])];
      const changed = fields.filter((field) => JSON.stringify(one[field]) !== JSON.stringify(other[field]));
      if (changed.length > 0) changes[path] = changed.join(" ");
    }
    if (Object.keys(changes).length > 0) all[name] = changes;
  }
  return all;
}

Deno.test("a machine of the older tools is upgraded, rolled back and reset, and nothing but what was meant changes, file by file, in every partition", async () => {
  await using machine = await familyMachine();
  const v2 = `oci:${join(machine.directory, "os")}:v2`;
  let before = await snapshot(machine);
  for (
    const words of [["upgrade", v2, "--no-verify"], ["rollback"], ["upgrade", "--recovery", v2, "--no-verify"], [
      "reset",
    ], ["reset", "--reset-persistent", "--reset-oem"]]
  ) {
    const ran = await machine.must(...words);
    console.log(ran.out, ran.err);
    const after = await snapshot(machine);
    console.log(words, difference(before, after));
    before = after;
    console.log(await machine.slots());
    await using m = await mount(machine.state);
    console.log(
      Deno.readTextFileSync(m.path + "/state.yaml"),
      Deno.readTextFileSync(m.path + "/boot_assessment").slice(0, 200),
      Deno.readTextFileSync(m.path + "/grub_oem_env").slice(0, 500),
    );
  }
  for (const partition of Object.values(machine.disk.partitions)) assert.deepEqual(await heldBy(partition), []);
});
