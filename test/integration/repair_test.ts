/** What a cut run leaves besides images: `cos repair` takes it away, and leaves alone what it does not know. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mount } from "../lab/disk.ts";
import { labMachine } from "../lab/machine.ts";
import { writeSmallOs } from "../lab/small-os.ts";

Deno.test("files that a cut run was writing, or was about to remove, are gone after a repair; others stay", async () => {
  await using machine = await labMachine({ stateMiB: 128 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  await machine.must("boot", "install");
  const files = async () => {
    await using state = await mount(machine.state);
    return ["", "cOS"].flatMap((directory) =>
      [...Deno.readDirSync(join(state.path, directory))].filter(({ isFile }) => isFile)
        .map(({ name }) => join(directory, name))
    ).sort();
  };
  const before = await files(), others = ["cOS/state.json.damaged", "grub.cfg.cos-old", "grubcustom.orig"];
  const left = [
    "boot_assessment.cos-new",
    "cOS/state.json.new",
    "cOS/trust.new",
    "grub_boot_assessment.before-cos.cos-old",
    "grub_boot_assessment.cos-old",
    "grub_image_uuid.cos-new",
    "grubcustom.cos-new",
    "grubcustom.cos-old",
  ];
  {
    await using state = await mount(machine.state, "rw");
    for (const name of [...left, ...others]) Deno.writeTextFileSync(join(state.path, name), "half");
  }
  assert.equal((await machine.must("repair")).out, "Mended.\n");
  assert.deepEqual(await files(), [...before, ...others].sort());
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  assert.deepEqual(await files(), [...before, ...others].sort());
});

Deno.test("what stands there and is no file stops no repair, and stays", async () => {
  await using machine = await labMachine({ stateMiB: 128 });
  const layout = join(machine.directory, "os");
  writeSmallOs(layout, { v1: {} });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  {
    await using state = await mount(machine.state, "rw");
    Deno.mkdirSync(join(state.path, "cOS/state.json.new"));
    Deno.symlinkSync("cOS/active.img", join(state.path, "grubcustom.cos-old"));
  }
  assert.equal((await machine.must("repair")).out, "Nothing to mend.\n");
  await using state = await mount(machine.state);
  assert.ok(Deno.lstatSync(join(state.path, "cOS/state.json.new")).isDirectory);
  assert.ok(Deno.lstatSync(join(state.path, "grubcustom.cos-old")).isSymlink);
});
