/** Random images, unpacked by the program and by others: every difference is somebody's fault. A failure names its seed. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { type Compression, packLayer, writeLayout } from "../lab/oci-layout.ts";
import { modelTrees, podmanTree, umociUnpack, withTimesOf } from "../lab/peers.ts";
import { EVERYTHING, randomImage, type RandomImageOptions } from "../lab/random-image.ts";
import { type Bytes, bytesOf, tar } from "../lab/tar-writer.ts";
import { compareTrees } from "../lab/tree.ts";
import { listTrees, unpackMany } from "../lab/unpacked.ts";

/** Another one is looked at with `SEEDS=5` or `SEEDS=1000-1200`. */
const SEEDS = (() => {
  const [first = 1, last = first] = (Deno.env.get("SEEDS") ?? "1-200").split("-").map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
})();

const COMPRESSIONS: Compression[] = ["none", "gzip", "gzip-members", "zstd", "zstd-frames"];

Deno.test("200 random images become what the model of the specification says, in every compression", async () => {
  await using scratch = scratchDirectory("random");
  const images = SEEDS.map((seed) => randomImage(seed).map((layer) => tar(layer)));
  const files = images.map((layers, i) => ({
    name: String(i),
    archives: layers.map((archive, layer) => {
      const path = join(scratch.path, `${i}-${layer}.tar`);
      writeFileSync(path, archive);
      return path;
    }),
  }));
  const model = await modelTrees(files);
  const wrong: string[] = [];
  await unpackMany(images, (i, tree) => {
    const expected = withTimesOf(tree, model.get(String(i)) ?? []);
    wrong.push(...compareTrees(tree, expected).map((difference) => `seed ${SEEDS[i]}: ${difference}`));
  }, (i) => ({ compression: COMPRESSIONS[i % COMPRESSIONS.length] ?? "gzip", openat2: i % 2 === 0 }));
  assert.deepEqual(wrong, []);
});

/** What umoci 0.4.7 is spared, and what it does instead. */
const FOR_UMOCI: RandomImageOptions = {
  ...EVERYTHING,
  // "link …: no such file or directory": it makes a link when its entry comes.
  forwardLinks: false,
  // "mkdir parent: not a directory": it does not replace a file of a lower layer by the directory that an entry implies.
  impliedParents: false,
};

Deno.test("200 random images become what umoci makes of them", async () => {
  await using scratch = scratchDirectory("umoci");
  const layout = join(scratch.path, "layout"), rootfs = join(scratch.path, "rootfs");
  mkdirSync(rootfs);
  const items = SEEDS.map((seed) => randomImage(seed, FOR_UMOCI));
  const images = items.map((layers) => layers.map((layer) => tar(layer)));
  const entries = images.map((layers, i) => [`s${i}`, { layers: layers.map((layer) => packLayer(layer, "gzip")) }]);
  writeLayout(layout, Object.fromEntries(entries));
  for (const i of images.keys()) await umociUnpack(layout, `s${i}`, join(rootfs, String(i)));
  const theirs = await listTrees(rootfs, images.length);
  const wrong: string[] = [];
  await unpackMany(images, (i, tree) => {
    const names = new Set((items[i] ?? []).flat().map((item) => item instanceof Uint8Array ? "" : latin1(item.name)));
    for (const difference of compareTrees(tree, theirs[i] ?? [])) {
      // A directory's time is set when its entry comes; a marker behind it, which empties the directory, changes the time again.
      const [, path] = /^(.*): mtime /.exec(difference) ?? [];
      if (path !== undefined && hasMarker(names, path)) continue;
      wrong.push(`seed ${SEEDS[i]}: ${difference}`);
    }
  });
  assert.deepEqual(wrong, []);
});

/** Some layer hides the path or one above it. */
function hasMarker(names: Set<string>, path: string): boolean {
  for (let at = path; at !== "";) {
    const slash = at.lastIndexOf("/"), parent = at.slice(0, slash + 1);
    if (names.has(`${parent}.wh.${at.slice(slash + 1)}`) || names.has(`${parent}.wh..wh..opq`)) return true;
    at = parent.replace(/\/$/, "");
  }
  return false;
}

/** As listed trees have names. */
function latin1(name: Bytes): string {
  return String.fromCharCode(...bytesOf(name));
}

/** What podman 4.3.1 is spared, and what it does instead: each layer becomes a directory of its own, and overlayfs lays them together. */
const FOR_PODMAN: RandomImageOptions = {
  // "no such file or directory": a link is made when its entry comes, among the layer's own files.
  forwardLinks: false,
  linksToLower: false,
  // "duplicates of file paths not supported"
  duplicates: false,
  // "file exists": the marker is a node of the hidden name, where the layer's own file of that name would be.
  hideAndReplace: false,
  // A directory without an entry is made with mode 0755 for root over the lower one, whose attributes are lost; a link or file of a
  // lower layer on the way is hidden by it.
  bareOpaque: false,
  impliedParents: false,
  throughLinks: false,
  // A marker in a directory that is not there makes one.
  idleMarkers: false,
  lateMarkers: true,
  // It sets 1970 for any time before.
  oldTimes: false,
};

Deno.test("random images become what podman's overlay mounts show", async () => {
  await using scratch = scratchDirectory("layouts");
  const layout = join(scratch.path, "layout");
  // Half a second each.
  const seeds = SEEDS.slice(0, 20);
  const images = seeds.map((seed) => randomImage(seed, FOR_PODMAN).map((layer) => tar(layer)));
  const entries = images.map((layers, i) => {
    const compression = COMPRESSIONS[i % COMPRESSIONS.length] ?? "gzip";
    return [`s${i}`, { layers: layers.map((layer) => packLayer(layer, compression)) }];
  });
  writeLayout(layout, Object.fromEntries(entries));
  const wrong: string[] = [];
  await unpackMany(images, async (i, tree) => {
    // The top is the highest layer's own directory: what lower layers say of it is lost.
    const differences = compareTrees(tree, await podmanTree(layout, `s${i}`), { skip: ["."] });
    wrong.push(...differences.map((difference) => `seed ${seeds[i]}: ${difference}`));
  });
  assert.deepEqual(wrong, []);
});
