/** What an upgrade writes, entry by entry, against what an independent program makes of the same image. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { debianBase } from "../lab/debian-base.ts";
import { mount, mountImage } from "../lab/disk.ts";
import { labMachine } from "../lab/machine.ts";
import { layoutDescriptor } from "../lab/oci-layout.ts";
import { buildOsImages } from "../lab/os-image.ts";
import { run } from "../lab/run.ts";
import { compareTrees, listTree } from "../lab/tree.ts";

/** Made by the filesystem, and by the program for what is mounted there: umoci has no such place. */
const OURS = ["lost+found", "oem"];

/** Deploys an image, and compares its tree with the one that a peer puts into a directory. */
async function assertLike(
  peer: (layout: string, tag: string, directory: string) => Promise<string>,
  layout: string,
  tag: string,
  stateMiB: number,
  spared = /^$/,
): Promise<number> {
  await using machine = await labMachine({ stateMiB });
  await machine.must("deploy", `oci:${layout}:${tag}`, "--no-verify");
  const rootfs = await peer(layout, tag, join(machine.directory, "peer"));
  await using state = await mount(machine.state);
  await using image = await mountImage(join(state.path, "cOS/active.img"));
  const [ours, theirs] = [await listTree(image.path), await listTree(rootfs)];
  const differences = compareTrees(ours, theirs, { skip: OURS });
  assert.deepEqual(differences.filter((difference) => !spared.test(difference)), []);
  return ours.length;
}

async function umoci(layout: string, tag: string, directory: string): Promise<string> {
  await run("umoci", ["unpack", "--image", `${layout}:${tag}`, directory]);
  return join(directory, "rootfs");
}

/** For layers that hide nothing: umoci knows no zstd. */
async function zstdAndTar(layout: string, tag: string, directory: string): Promise<string> {
  mkdirSync(directory);
  const blob = (digest: string) => join(layout, "blobs", ...digest.split(":"));
  const { digest } = layoutDescriptor(layout, tag);
  const { layers } = JSON.parse(Deno.readTextFileSync(blob(digest))) as { layers: { digest: string }[] };
  const options =
    "--preserve-permissions --same-owner --numeric-owner --xattrs '--xattrs-include=*' --keep-directory-symlink";
  const extract = `zstd --decompress --stdout "$1" | tar --extract --directory "$2" ${options}`;
  for (const layer of layers) {
    await run("bash", ["-o", "pipefail", "-c", extract, "bash", blob(layer.digest), directory]);
  }
  return directory;
}

Deno.test("both versions of the demo's system are written as umoci unpacks them", async () => {
  await using machine = await labMachine({ stateMiB: 64 });
  const layout = join(machine.directory, "os");
  await buildOsImages(layout, { compression: "gzip" });
  for (const tag of ["v1", "v2"]) {
    const entries = await assertLike(umoci, layout, tag, 512);
    assert.ok(entries > 300, `only ${entries} entries`);
  }
});

Deno.test("a Debian base of some 500 MB is written as umoci unpacks it", async () => {
  const { gzip, tag } = await debianBase();
  const entries = await assertLike(umoci, gzip, tag, 3072);
  assert.ok(entries > 10_000, `only ${entries} entries`);
});

Deno.test("the same base in many zstd frames is written as zstd and GNU tar extract it", async () => {
  const { zstd, tag } = await debianBase();
  // Each layer is extracted by itself: where a later one adds something, the directory's time changes again.
  const entries = await assertLike(zstdAndTar, zstd, tag, 3072, /^(?:\.|etc|usr\/lib): mtime /);
  assert.ok(entries > 10_000, `only ${entries} entries`);
});
