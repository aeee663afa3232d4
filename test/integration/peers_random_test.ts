/** Random images, unpacked by the program and by others: every difference is somebody's fault. A failure names its seed. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import type { Compression } from "../lab/oci-layout.ts";
import { modelTrees, withTimesOf } from "../lab/peers.ts";
import { randomImage } from "../lab/random-image.ts";
import { tar } from "../lab/tar-writer.ts";
import { compareTrees } from "../lab/tree.ts";
import { unpackMany } from "../lab/unpacked.ts";

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
