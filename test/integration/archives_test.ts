/** Archives as sources: what skopeo and podman make is what the layout holds; odd and broken ones are told apart by name. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { resolveImage } from "../../lib/oci/pull.ts";
import {
  archiveSource,
  compressed,
  dockerParts,
  held,
  layerOf,
  PLATFORM,
  podmanWith,
  skopeoCopy,
  writeArchive,
} from "../lab/archives.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { openDescriptors, rejectionOf, rejects } from "../lab/expect.ts";
import { labMachine } from "../lab/machine.ts";
import { packLayer, writeLayout } from "../lab/oci-layout.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import * as t from "../lab/tar-writer.ts";

/** A layout with two images of three layers, one of them below both, and an index. */
function threeLayers(directory: string): void {
  const layer = (name: string, size: number) =>
    packLayer(t.tar([t.file(name, new Uint8Array(size).map((_, i) => (i * 31 + size) % 251))]), "gzip");
  const below = layer("below", 700_000);
  const image = (name: string) => ({ layers: [below, layer(name, 400_000), layer(`${name}-top`, 100)] });
  writeLayout(directory, {
    v1: image("one"),
    v2: image("two"),
    all: {
      images: [{ ...image("arm"), platform: { os: "linux", architecture: "arm64" } }, image("one")],
      attestation: true,
    },
  });
}

Deno.test("an OCI archive by skopeo holds what the layout holds: plain, gzip, zstd, with the directory's own names", async () => {
  await using scratch = scratchDirectory("archives");
  const layout = `${scratch.path}/layout`, archive = `${scratch.path}/o.tar`;
  threeLayers(layout);
  const before = openDescriptors();
  for (const tag of ["v1", "all"]) {
    const expected = await held(`oci:${layout}:${tag}`);
    // skopeo adds to an archive that is there.
    await run("rm", ["-f", archive]);
    await skopeoCopy(`oci:${layout}:${tag}`, `oci-archive:${archive}:${tag}`, "--all");
    for (const path of [archive, await compressed(archive, "gzip"), await compressed(archive, "zstd")]) {
      assert.deepEqual(await held(`oci-archive:${path}`), expected);
      assert.deepEqual(await held(`oci-archive:${path}:${tag}`), expected);
      assert.deepEqual(await held(`oci-archive:${path}:@0`), expected);
    }
  }
  // `tar -C layout .` writes names that begin with a dot; several images lie in it.
  await run("tar", ["-C", layout, "-cf", `${scratch.path}/all.tar`, "."]);
  assert.deepEqual(await held(`oci-archive:${scratch.path}/all.tar:v2`), await held(`oci:${layout}:v2`));
  assert.deepEqual(await held(`oci-archive:${scratch.path}/all.tar:@1`), await held(`oci:${layout}:v2`));
  await rejects(
    () => held(`oci-archive:${scratch.path}/all.tar`),
    "IMAGE_NOT_FOUND",
    `Cannot choose among the 3 images of oci-archive:${scratch.path}/all.tar.`,
  );
  await rejects(
    () => held(`oci-archive:${scratch.path}/all.tar:v3`),
    "IMAGE_NOT_FOUND",
    `Cannot find oci-archive:${scratch.path}/all.tar:v3: the archive has no such image.`,
  );
  await rejects(
    () => held(`oci-archive:${scratch.path}/all.tar:@3`),
    "IMAGE_NOT_FOUND",
    `Cannot find oci-archive:${scratch.path}/all.tar:@3: the archive has no such image.`,
  );
  assert.deepEqual(openDescriptors(), before);
});

Deno.test("docker's archive by skopeo: the layers are what the layout's are without gzip, the digest is the one that skopeo shows", async () => {
  await using scratch = scratchDirectory("archives");
  const layout = `${scratch.path}/layout`, archive = `${scratch.path}/d.tar`;
  threeLayers(layout);
  await skopeoCopy(`oci:${layout}:v1`, `docker-archive:${archive}:example.org/team/os:v1`);
  const original = await held(`oci:${layout}:v1`);
  const shown = JSON.parse(await run("skopeo", ["inspect", `docker-archive:${archive}`])) as { Digest: string };
  const before = openDescriptors();
  for (const path of [archive, await compressed(archive, "gzip"), await compressed(archive, "zstd")]) {
    const found = await held(`docker-archive:${path}`);
    assert.deepEqual(found.diffIds, original.diffIds);
    assert.equal(found.config, original.config);
    assert.deepEqual(found.layers.map((layer) => layer.split(" ")[0]), original.diffIds);
    assert.deepEqual(await held(`docker-archive:${path}:example.org/team/os:v1`), found);
    assert.equal(found.digest, shown.Digest);
  }
  assert.deepEqual(openDescriptors(), before);
  const { code, message } = await rejectionOf(() => held(`docker-archive:${archive}:os`));
  assert.deepEqual([code, message], [
    "IMAGE_NOT_FOUND",
    `Cannot find docker-archive:${archive}:docker.io/library/os:latest: the archive has no such image.`,
  ]);
});

Deno.test("what podman saves: one image, several in one archive, and the OCI form", async () => {
  await using scratch = scratchDirectory("archives");
  const layout = `${scratch.path}/layout`, at = (name: string) => `${scratch.path}/${name}`;
  threeLayers(layout);
  const podman = await podmanWith(scratch.path, {
    "example.org/os:v1": `oci:${layout}:v1`,
    "localhost/os:v2": `oci:${layout}:v2`,
  });
  const one = await held(`oci:${layout}:v1`), two = await held(`oci:${layout}:v2`);
  await podman("save", "--quiet", "--output", at("one.tar"), "example.org/os:v1");
  assert.deepEqual((await held(`docker-archive:${at("one.tar")}`)).diffIds, one.diffIds);

  await podman(
    "save",
    "--quiet",
    "--multi-image-archive",
    "--output",
    at("both.tar"),
    "example.org/os:v1",
    "localhost/os:v2",
  );
  const both = `docker-archive:${at("both.tar")}`;
  assert.deepEqual((await held(`${both}:localhost/os:v2`)).diffIds, two.diffIds);
  const places = [await held(`${both}:@0`), await held(`${both}:@1`)].map(({ diffIds }) => diffIds.join());
  assert.deepEqual(places.sort(), [one.diffIds.join(), two.diffIds.join()].sort());
  const error = await rejectionOf(() => held(both));
  assert.deepEqual([error.code, error.message], ["IMAGE_NOT_FOUND", `Cannot choose among the 2 images of ${both}.`]);
  const shown = JSON.parse(await run("skopeo", ["inspect", `${both}:example.org/os:v1`])) as { Digest: string };
  assert.equal((await held(`${both}:example.org/os:v1`)).digest, shown.Digest);

  await podman("save", "--quiet", "--format", "oci-archive", "--output", at("oci.tar"), "example.org/os:v1");
  assert.deepEqual((await held(`oci-archive:${at("oci.tar")}`)).diffIds, one.diffIds);
});

Deno.test("layers that are links, stand twice, are compressed, or lie among blobs", async () => {
  await using scratch = scratchDirectory("archives");
  const one = layerOf("a", "one"), two = layerOf("b", "two"), gone = layerOf("c", "old");
  const source = (name: string, items: t.TarItem[], options?: t.ArchiveOptions) =>
    `docker-archive:${writeArchive(scratch.path, name, items, options)}`;
  const manifestOf = (parts: ReturnType<typeof dockerParts>) =>
    t.file("manifest.json", JSON.stringify([parts.manifest]));
  const expected = [`${one.diffId} ${one.tar.length}`, `${two.diffId} ${two.tar.length}`];

  // As docker before 25: a layer that was there already is a link to its twin.
  const linked = dockerParts([{ ...one, name: "x/layer.tar" }, { ...two, name: "y/layer.tar" }]);
  for (
    const link of [
      t.symlink("x/layer.tar", "../z/layer.tar"),
      t.hardlink("x/layer.tar", "z/layer.tar"),
      t.symlink("x/layer.tar", "/z/./layer.tar"),
    ]
  ) {
    const items = [
      link,
      t.file("z/layer.tar", one.tar),
      t.file("y/layer.tar", two.tar),
      linked.config,
      manifestOf(linked),
    ];
    assert.deepEqual((await held(source("linked.tar", items))).layers, expected);
  }
  // The later one of two members counts; the end's mark and the last padding may be missing.
  const twice = [
    t.file("x/layer.tar", gone.tar),
    manifestOf(linked),
    linked.config,
    t.file("y/layer.tar", two.tar),
    t.file("./x//layer.tar", one.tar),
  ];
  assert.deepEqual((await held(source("twice.tar", twice, { endBlocks: 0 }))).layers, expected);

  // As docker 25 and later: blobs, compressed where its store holds them so.
  const blobs = dockerParts([{ ...one, name: "blobs/sha256/1" }, { ...two, name: "blobs/sha256/2" }]);
  const items = [
    t.file("blobs/sha256/1", gzipSync(one.tar)),
    t.file("blobs/sha256/2", two.tar),
    blobs.config,
    manifestOf(blobs),
  ];
  const mixed = source("mixed.tar", items);
  assert.deepEqual((await held(mixed)).layers, expected);
  const shown = JSON.parse(await run("skopeo", ["inspect", mixed])) as { Digest: string };
  assert.equal((await held(mixed)).digest, shown.Digest);
  // And both compressed at once.
  const whole = await compressed(mixed.slice("docker-archive:".length), "zstd");
  assert.deepEqual((await held(`docker-archive:${whole}`)).layers, expected);
  // One that stands in the OCI form as well is read in either.
  const layout = writeLayout(`${scratch.path}/l`, { v1: { layers: [packLayer(one.tar, "none")] } });
  await run("tar", ["-C", `${scratch.path}/l`, "-cf", `${scratch.path}/25.tar`, "."]);
  const [manifest] = layout[0]?.manifests ?? [], hex = (digest: string) => digest.replace("sha256:", "blobs/sha256/");
  writeFileSync(
    `${scratch.path}/manifest.json`,
    JSON.stringify([{ Config: hex(manifest?.config.digest ?? ""), RepoTags: ["os:v1"], Layers: [hex(one.diffId)] }]),
  );
  await run("tar", ["-C", scratch.path, "-rf", `${scratch.path}/25.tar`, "manifest.json"]);
  const [docker, oci] = [
    await held(`docker-archive:${scratch.path}/25.tar:os:v1`),
    await held(`oci-archive:${scratch.path}/25.tar`),
  ];
  assert.deepEqual(docker.layers, oci.layers);
  assert.equal(oci.digest, layout[0]?.descriptor.digest);
});

Deno.test("a compressed archive is read again from its start only where it must be, and a stop is heard in between", async () => {
  await using scratch = scratchDirectory("archives");
  const layers = ["a", "b", "c"].map((name) => ({ ...layerOf(name, name.repeat(300_000)), name: `${name}.tar` }));
  const parts = dockerParts(layers), manifest = t.file("manifest.json", JSON.stringify([parts.manifest]));
  const path = writeArchive(scratch.path, "a.tar", [
    manifest,
    parts.config,
    ...layers.map(({ name, tar }) => t.file(name, tar)),
  ]);
  const source = archiveSource(`docker-archive:${await compressed(path, "gzip")}`);
  const opened: string[] = [], open = Deno.open;
  Deno.open = (name, options) => {
    opened.push(String(name));
    return open(name, options);
  };
  try {
    const image = await resolveImage(source, PLATFORM);
    const read = async (i: number) => {
      let size = 0;
      const layer = image.manifest.layers[i];
      if (layer !== undefined) { for await (const chunk of source.blob(layer)) size += chunk.length; }
      assert.equal(size, layer?.size);
    };
    const passes = async (...order: number[]) => {
      opened.splice(0);
      for (const i of order) await read(i);
      return opened.length;
    };
    // What it is, and the pass over its headers.
    assert.equal(opened.length, 2);
    assert.equal(await passes(0, 1, 2), 1);
    assert.equal(await passes(1, 2), 1);
    assert.equal(await passes(1, 0), 2);
    const controller = new AbortController();
    controller.abort(new Error("stop"));
    const layer = image.manifest.layers[2];
    assert.ok(layer !== undefined);
    await assert.rejects(async () => {
      for await (const _ of source.blob(layer, controller.signal)) assert.fail("nothing may come");
    }, /stop/);
  } finally {
    Deno.open = open;
    await source.close?.();
  }
});

Deno.test("a machine is deployed and upgraded from archives", async () => {
  await using machine = await labMachine();
  const layout = `${machine.directory}/layout`,
    docker = `${machine.directory}/d.tar`,
    oci = `${machine.directory}/o.tar`;
  const digests = writeSmallOs(layout, { v1: {}, v2: {} });
  await skopeoCopy(`oci:${layout}:v1`, `docker-archive:${docker}:example.org/os:v1`);
  await skopeoCopy(`oci:${layout}:v2`, `oci-archive:${oci}:v2`);
  await machine.must("deploy", `docker-archive:${docker}:example.org/os:v1`, "--no-verify");
  assert.equal((await machine.slots()).active?.version, "v1");
  await machine.must("upgrade", `oci-archive:${await compressed(oci, "zstd")}`, "--no-verify");
  const slots = await machine.slots();
  assert.deepEqual([slots.active?.version, slots.passive?.version], ["v2", "v1"]);
  const status = JSON.parse((await machine.must("status", "--json")).out) as {
    slots: { source: string; digest: string }[];
  };
  const shown = JSON.parse(await run("skopeo", ["inspect", `docker-archive:${docker}`])) as { Digest: string };
  assert.deepEqual(status.slots.map(({ source, digest }) => [source, digest]), [
    [`oci-archive:${oci}.zstd`, digests.v2],
    [`docker-archive:${docker}:example.org/os:v1`, shown.Digest],
  ]);
  const { status: code, err } = await machine.cos("upgrade", `oci-archive:${docker}`, "--no-verify");
  assert.equal(code, 30);
  assert.match(err, /it has no index\.json, so it is no OCI layout\.\n {2}It may be docker's form: docker-archive:/);
});
