/** What an upgrade writes, entry by entry, against what an independent program makes of the same image. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { debianBase } from "../lab/debian-base.ts";
import { mount, mountImage } from "../lab/disk.ts";
import { labMachine } from "../lab/machine.ts";
import { buildOsImages } from "../lab/os-image.ts";
import { run } from "../lab/run.ts";
import { compareTrees, listTree } from "../lab/tree.ts";

/** Made by the filesystem, and by the program for what is mounted there: umoci has no such place. */
const OURS = ["lost+found", "oem"];

async function assertLikeUmoci(layout: string, tag: string, stateMiB: number): Promise<number> {
  await using machine = await labMachine({ stateMiB });
  await machine.must("deploy", `oci:${layout}:${tag}`, "--no-verify");
  const bundle = join(machine.directory, "bundle");
  await run("umoci", ["unpack", "--image", `${layout}:${tag}`, bundle]);
  await using state = await mount(machine.state);
  await using image = await mountImage(join(state.path, "cOS/active.img"));
  const [ours, theirs] = [await listTree(image.path), await listTree(join(bundle, "rootfs"))];
  assert.deepEqual(compareTrees(ours, theirs, { skip: OURS }), []);
  return ours.length;
}

Deno.test("both versions of the demo's system are written as umoci unpacks them", async () => {
  await using machine = await labMachine({ stateMiB: 64 });
  const layout = join(machine.directory, "os");
  await buildOsImages(layout, { compression: "gzip" });
  for (const tag of ["v1", "v2"]) {
    const entries = await assertLikeUmoci(layout, tag, 512);
    assert.ok(entries > 300, `only ${entries} entries`);
  }
});

Deno.test("a Debian base of some 500 MB is written as umoci unpacks it", async () => {
  const { gzip, tag } = await debianBase();
  const entries = await assertLikeUmoci(gzip, tag, 3072);
  assert.ok(entries > 10_000, `only ${entries} entries`);
});
