/** What the older tools' menus and records read on the state partition: the system's name, labels, `state.yaml`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { mount } from "../lab/disk.ts";
import { blockOf, LABELS } from "../lab/family-machine.ts";
import type { LabMachine } from "../lab/machine.ts";
import * as t from "../lab/tar-writer.ts";
import { parseEnvBlock } from "../../lib/formats/env-block.ts";

function machineWithV1(): Promise<DeployedMachine> {
  const release = t.file(
    "etc/os-release",
    'ID=small\nVERSION_ID=v2\nPRETTY_NAME="Small v2"\nGRUB_ENTRY_NAME="Small OS"\n',
  );
  const branded = { "etc/os-release": release };
  return deployedMachine({
    v1: { more: mountPoints() },
    v2: { replace: branded },
    v3: { replace: branded, labels: { another: "digest" } },
  }, { stateMiB: 300 });
}

async function oemEnv({ state }: LabMachine): Promise<Record<string, string> | undefined> {
  await using mounted = await mount(state);
  const bytes = await Deno.readFile(join(mounted.path, "grub_oem_env")).catch(() => undefined);
  return bytes === undefined ? undefined : Object.fromEntries(parseEnvBlock(bytes) ?? []);
}

async function put({ state }: LabMachine, files: Record<string, string | Uint8Array>): Promise<void> {
  await using mounted = await mount(state, "rw");
  for (const [name, content] of Object.entries(files)) {
    Deno.mkdirSync(join(mounted.path, name, ".."), { recursive: true });
    Deno.writeFileSync(
      join(mounted.path, name),
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  }
}

Deno.test("cos-rebrand names the system in the boot menu, and fills in labels that are missing", async () => {
  await using machine = await machineWithV1();
  await put(machine, { "state.yaml": "# first\noem: {label: MY_OEM}\n" });
  await using booted = await boot(machine, "active", { etc: { "cos/config": 'GRUB_ENTRY_NAME="Nächte & Tage"\n' } });
  const first = await booted.as("cos-rebrand", []);
  assert.deepEqual([first.status, first.out], [0, "The boot menu calls the system Nächte & Tage.\n"], first.err);
  const named = new TextDecoder("latin1").decode(new TextEncoder().encode("Nächte & Tage"));
  assert.deepEqual(await oemEnv(machine), { default_menu_entry: named, ...LABELS, oem_label: "MY_OEM" });
  const again = await booted.as("cos-rebrand", []);
  assert.deepEqual([again.status, again.out], [0, "Nothing to do.\n"]);
});

Deno.test("an upgrade fills in what is missing, takes the new image's name, and keeps what was set; without such a file it makes none", async () => {
  await using machine = await machineWithV1();
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  assert.equal(await oemEnv(machine), undefined);
  await put(machine, { grub_oem_env: blockOf({ default_menu_entry: "Old", oem_label: "MINE", else: "kept" }) });
  await machine.must("upgrade", machine.image("v3"), "--no-verify");
  assert.deepEqual(await oemEnv(machine), {
    default_menu_entry: "Small OS",
    ...LABELS,
    oem_label: "MINE",
    else: "kept",
  });
});

Deno.test("GRUB's menu reads the file and there is none: an upgrade makes it", async () => {
  await using machine = await machineWithV1();
  await put(machine, { "grub2/grub.cfg": "load_env -f (${root})/grub_oem_env\n" });
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  assert.deepEqual(await oemEnv(machine), { default_menu_entry: "Small OS", ...LABELS });
});

Deno.test("state.yaml follows upgrades and rollbacks, on both partitions; one that cannot be read is left, with a warning", async () => {
  await using machine = await machineWithV1();
  const { recovery } = machine.disk.partitions;
  const before = "# keep\nstate:\n  active: {source: 'oci://r.example/os:v1', fs: ext2}\n  passive: null\nmore: 1\n";
  await put(machine, { "state.yaml": before });
  await put({ ...machine, state: recovery }, { "state.yaml": before });
  const read = async (device: string) => {
    await using mounted = await mount(device);
    return Deno.readTextFileSync(join(mounted.path, "state.yaml")).replace(/^date: .*$/m, "date");
  };
  const { digest } = JSON.parse((await machine.must("upgrade", machine.image("v2"), "--no-verify", "--json")).out)
    .plan;
  const image = (label: string, lines: string) => `${lines}    fs: ext2\n    label: ${label}\n`;
  const v1 = "    source: oci://r.example/os:v1\n";
  const v2 = `    source: file://${machine.layout}\n    source-metadata:\n      digest: ${digest}\n`;
  const after = (active: string, passive: string) =>
    `# keep\nstate:\n  active:\n${image("COS_ACTIVE", active)}  passive:\n${
      image("COS_PASSIVE", passive)
    }  label: COS_STATE\nmore: 1\ndate\n`;
  assert.equal(await read(machine.state), after(v2, v1));
  assert.equal(await read(recovery), after(v2, v1));
  await machine.must("rollback");
  assert.equal(await read(machine.state), after(v1, v2));
  await put(machine, { "state.yaml": "a: [\n" });
  const ran = await machine.must("rollback");
  assert.match(ran.err, /^Warning: It is done, but keeping state\.yaml in step failed: Cannot use state\.yaml, line/m);
  assert.equal(await read(machine.state), "a: [\n");
});
