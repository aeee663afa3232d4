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
/** By partition, then path: "added", "removed", or the fields that changed, and of an image where its content was before. */
type Difference = Partial<Record<PartitionName, Record<string, string>>>;

async function snapshot({ disk }: LabMachine): Promise<Snapshot> {
  const found: Partial<Snapshot> = {};
  for (const [name, device] of Object.entries(disk.partitions) as [PartitionName, string][]) {
    await using mounted = await mount(device);
    const files = new Map<string, Facts>();
    for (const { path, mtime, size: _inTheDigest, ...facts } of await listTree(mounted.path)) {
      // A directory's time follows from what is told of its entries.
      files.set(path, facts.type === "directory" ? facts : { ...facts, mtime });
    }
    for (const [file, { label, uuid, digest }] of filesOf(mounted.path)) {
      const path = join("cOS", file), { sha256: _withLabel, ...facts } = files.get(path) ?? {};
      if (label !== undefined && label !== "") files.set(path, { ...facts, digest, label, uuid });
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
      const fields = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
      const changed = fields.filter((field) => JSON.stringify(one[field]) !== JSON.stringify(other[field]));
      if (changed.length === 0) continue;
      const [was] = [...before[name]].find(([, { digest }]) => digest !== undefined && digest === other["digest"]) ??
        [];
      changes[path] = changed.join(" ") + (was === undefined || was === path ? "" : `, was ${was}`);
    }
    if (Object.keys(changes).length > 0) all[name] = changes;
  }
  return all;
}

/** What the older tools' own record says about the slots and the recovery system: their sources' last parts. */
async function sources({ disk, directory }: LabMachine): Promise<string> {
  const texts = [];
  for (const device of [disk.partitions.state, disk.partitions.recovery]) {
    await using mounted = await mount(device);
    texts.push(Deno.readTextFileSync(join(mounted.path, "state.yaml")));
  }
  assert.equal(texts[0], texts[1]);
  const found = [...(texts[0] ?? "").matchAll(/^ {4}source: (.*)$/gm)].map(([, source]) => source ?? "");
  return found.map((source) => source.replace("oci://r.example/os:", "").replace(`file://${directory}/os`, "layout"))
    .join();
}

interface Told {
  changes: Difference;
  /** Version and label of both slots. */
  slots: string[];
  sources: string;
  warnings: string[];
}

/** What a run of the program changes. */
async function changedBy(machine: LabMachine, ...words: string[]): Promise<Told> {
  const before = await snapshot(machine), { err } = await machine.must(...words);
  const { active, passive } = await machine.slots();
  return {
    changes: difference(before, await snapshot(machine)),
    slots: [active, passive].map((slot) => `${slot?.version} ${slot?.label}`),
    sources: await sources(machine),
    warnings: err.split("\n").filter((line) => line.startsWith("Warning: ")),
  };
}

const RECORDS = { "cOS/state.json": "mtime sha256", "state.yaml": "mtime sha256" };
const removed = (...paths: string[]) => Object.fromEntries(paths.map((path) => [path, "removed"]));
const NOT_ARMED = "Warning: Fallback is not armed: the hook in grubcustom leads to no script that counts " +
  "(grub_boot_assessment); choose the fallback entry by hand if need be.";

Deno.test("a machine of the older tools is upgraded, rolled back and reset, and nothing but what was meant changes, file by file, in every partition", async () => {
  await using machine = await familyMachine();
  const v2 = `oci:${join(machine.directory, "os")}:v2`;
  assert.deepEqual(await changedBy(machine, "upgrade", v2, "--no-verify"), {
    changes: {
      state: {
        ...RECORDS,
        "cOS/active.img": "digest mtime uuid",
        "cOS/passive.img": "digest mtime uuid, was cOS/active.img",
        "cOS/state.json": "added",
      },
      recovery: { ...RECORDS, "cOS/state.json": "added" },
    },
    slots: ["v2 COS_ACTIVE", "v1 COS_PASSIVE"],
    sources: "layout,v1,v3",
    warnings: [NOT_ARMED],
  });
  assert.deepEqual(await changedBy(machine, "rollback"), {
    changes: {
      state: {
        ...RECORDS,
        "cOS/active.img": "digest mtime uuid, was cOS/passive.img",
        "cOS/passive.img": "digest mtime uuid, was cOS/active.img",
      },
      recovery: RECORDS,
    },
    slots: ["v1 COS_ACTIVE", "v2 COS_PASSIVE"],
    sources: "v1,layout,v3",
    warnings: [],
  });
  const bothSlots = {
    ...RECORDS,
    "cOS/active.img": "digest links mtime uuid",
    "cOS/passive.img": "digest label links mtime uuid",
  };
  assert.deepEqual(await changedBy(machine, "reset"), {
    changes: { state: bothSlots, recovery: RECORDS },
    slots: ["v3 COS_ACTIVE", "v3 COS_ACTIVE"],
    sources: "v3,v3,v3",
    warnings: [],
  });
  assert.deepEqual(await changedBy(machine, "upgrade", "--recovery", v2, "--no-verify"), {
    changes: { state: RECORDS, recovery: { ...RECORDS, "cOS/recovery.squashfs": "mtime sha256" } },
    slots: ["v3 COS_ACTIVE", "v3 COS_ACTIVE"],
    sources: "v3,v3,layout",
    warnings: [],
  });
  assert.deepEqual(await changedBy(machine, "reset", "--reset-persistent", "--reset-oem"), {
    changes: {
      state: { ...RECORDS, "cOS/active.img": "digest mtime uuid", "cOS/passive.img": "digest mtime uuid" },
      recovery: RECORDS,
      oem: removed("02_upgrades.yaml", "90_custom.yaml", "grubenv", "secrets", "secrets/key"),
      persistent: removed(
        ".state",
        ".state/var-log.bind",
        ".state/var-log.bind/messages",
        "cloud-config",
        "cloud-config/site.yaml",
        "home",
        "home/user",
        "home/user/link",
        "home/user/notes",
        "home/user/same",
      ),
    },
    slots: ["v2 COS_ACTIVE", "v2 COS_ACTIVE"],
    sources: "layout,layout,layout",
    warnings: [],
  });
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  for (const partition of Object.values(machine.disk.partitions)) assert.deepEqual(await heldBy(partition), []);
});
