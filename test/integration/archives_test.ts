/** Archives as sources: what skopeo and podman make is what the layout holds; odd and broken ones are told apart by name. */
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { CosError } from "../../lib/base/errors.ts";
import { resolveImage } from "../../lib/oci/pull.ts";
import {
  archiveSource,
  compressed,
  cutArchive,
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
import { packLayer, sha256, writeLayout } from "../lab/oci-layout.ts";
import { Random } from "../lab/random.ts";
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

Deno.test("archives that are none, are damaged or cut, or lie", async () => {
  await using scratch = scratchDirectory("archives");
  const at = (name: string) => `${scratch.path}/${name}`;
  const one = layerOf("a", "one"), parts = dockerParts([{ ...one, name: "1.tar" }]);
  const manifest = t.file("manifest.json", JSON.stringify([parts.manifest]));
  const good = writeArchive(scratch.path, "good.tar", [t.file("1.tar", one.tar), parts.config, manifest]);
  const before = openDescriptors();
  const refused = async (
    reference: string,
    why: string,
    code: "BROKEN_ARCHIVE" | "UNSUPPORTED_IMAGE" = "BROKEN_ARCHIVE",
  ) => {
    const verb = code === "BROKEN_ARCHIVE" ? "read" : "use";
    await rejects(() => held(reference), code, `Cannot ${verb} ${reference}: ${why}.`);
  };
  const docker = (name: string, items: t.TarItem[]) => `docker-archive:${writeArchive(scratch.path, name, items)}`;

  await rejects(
    () => held(`docker-archive:${at("none")}`),
    "IMAGE_NOT_FOUND",
    `Cannot read docker-archive:${at("none")}: ${at("none")} does not exist.`,
  );
  await refused(`docker-archive:${scratch.path}`, `${scratch.path} is a directory`);
  await run("mkfifo", [at("pipe")]);
  await refused(`oci-archive:${at("pipe")}`, `${at("pipe")} is no file that can be read more than once`);
  writeFileSync(at("empty"), "");
  await refused(`oci-archive:${at("empty")}`, "it is empty");
  writeFileSync(at("text"), "text ".repeat(500));
  await refused(`oci-archive:${at("text")}`, "it is no tar archive: a header's checksum is no octal number");
  await refused(`docker-archive:${await compressed(good, "xz")}`, "it is compressed with xz, which is not read here");
  await refused(docker("nothing.tar", []), "it is an empty archive");
  await refused(`oci-archive:${good}`, "it has no index.json, so it is no OCI layout");
  await refused(
    docker("old.tar", [t.file("repositories", "{}")]),
    "it is older than docker 1.10, so it is no archive of docker's",
  );
  await refused(
    docker("other.tar", [t.file("index.json", "{}")]),
    "it has no manifest.json, so it is no archive of docker's",
  );

  // Cut at each header and in each member.
  const { size } = statSync(good), gzip = await compressed(good, "gzip");
  for (const bytes of [100, 600, 1000, 2600, 3072]) {
    const { code, message } = await rejectionOf(() => held(`docker-archive:${cutArchive(good, bytes)}`));
    assert.equal(code, "BROKEN_ARCHIVE", message);
    assert.ok(bytes < size);
  }
  await refused(`docker-archive:${cutArchive(good, 1000)}`, "it ends in the middle of 1.tar");
  await refused(
    `docker-archive:${cutArchive(good, 100)}`,
    "it is no tar archive: the archive ends in the middle of a header",
  );
  await refused(`docker-archive:${cutArchive(gzip, statSync(gzip).size >> 1)}`, "its gzip data is damaged");

  await refused(docker("lost.tar", [parts.config, manifest]), "1.tar is not in it");
  await refused(docker("config.tar", [t.file("1.tar", one.tar), manifest]), `${parts.manifest.Config} is not in it`);
  await refused(
    docker("loop.tar", [t.symlink("1.tar", "2.tar"), t.symlink("2.tar", "1.tar"), parts.config, manifest]),
    "1.tar is not in it",
  );
  await refused(
    docker("out.tar", [t.symlink("1.tar", "../../etc/passwd"), parts.config, manifest]),
    "1.tar is not in it",
  );
  await refused(docker("dir.tar", [t.directory("1.tar"), parts.config, manifest]), "1.tar is not in it");
  await refused(
    docker("zeros.tar", [parts.config, new Uint8Array(512), manifest]),
    "an entry follows after a block of zeros, where it should end",
  );
  const xz = readFileSync(`${good}.xz`);
  await refused(
    docker("xz.tar", [t.file("1.tar", xz), parts.config, manifest]),
    "1.tar in it is compressed with xz, which is not read here",
  );

  // A header that says another size than the member has.
  const lies = (claimedSize: number) =>
    docker("lies.tar", [parts.config, manifest, { ...t.file("1.tar", one.tar), claimedSize }]);
  const { code } = await rejectionOf(() => held(lies(one.tar.length - 512)));
  assert.ok(["DIGEST_MISMATCH", "BROKEN_ARCHIVE"].includes(code), code);
  await refused(lies(one.tar.length * 2 ** 20), "it ends in the middle of 1.tar");
  // Other bytes than the digest names.
  const other = docker("changed.tar", [t.file("1.tar", layerOf("a", "two").tar), parts.config, manifest]);
  assert.equal((await rejectionOf(() => held(other))).code, "DIGEST_MISMATCH");
  const changed = docker("changed.tar", [t.file("1.tar", one.tar), { ...parts.config, content: "{}" }, manifest]);
  assert.deepEqual(await rejectionOf(() => held(changed)), {
    code: "DIGEST_MISMATCH",
    message: `Refused the configuration of ${changed}: expected ${parts.digest}, got ${sha256(t.bytesOf("{}"))}.`,
  });

  const json = (text: string) => docker("json.tar", [t.file("manifest.json", text)]);
  await refused(json("["), "its manifest.json is no JSON", "UNSUPPORTED_IMAGE");
  await refused(json("{}"), "its manifest.json is malformed", "UNSUPPORTED_IMAGE");
  await refused(
    json('[{"Config":"a","Layers":[1]}]'),
    "its manifest.json is malformed at 0.Layers.0",
    "UNSUPPORTED_IMAGE",
  );
  const few = dockerParts([{ ...one, name: "1.tar" }], { diffIds: [one.diffId, one.diffId] });
  await refused(
    docker("few.tar", [t.file("1.tar", one.tar), few.config, t.file("manifest.json", JSON.stringify([few.manifest]))]),
    "its manifest.json names 1 layers and its configuration 2",
    "UNSUPPORTED_IMAGE",
  );
  await refused(
    docker("large.tar", [t.file("manifest.json", `[]${" ".repeat(4 << 20)}`)]),
    `manifest.json is longer than ${4 << 20} bytes`,
  );
  assert.deepEqual(openDescriptors(), before);
});

Deno.test("a sparse member is passed over where nobody needs it, and refused where somebody does", async () => {
  await using scratch = scratchDirectory("archives");
  const one = layerOf("a", "one"), parts = dockerParts([{ ...one, name: "1.tar" }]);
  writeFileSync(`${scratch.path}/manifest.json`, JSON.stringify([parts.manifest]));
  writeFileSync(`${scratch.path}/${parts.manifest.Config}`, parts.config.content as string);
  writeFileSync(`${scratch.path}/1.tar`, one.tar);
  await run("truncate", ["--size=3M", `${scratch.path}/hole`]);
  const make = async (...names: string[]) => {
    const to = `${scratch.path}/s.tar`;
    await run("tar", ["-C", scratch.path, "--sparse", "--hole-detection=raw", "-cf", to, ...names]);
    return `docker-archive:${to}`;
  };
  const found = await held(await make("hole", "1.tar", "manifest.json", parts.manifest.Config as string));
  assert.deepEqual(found.diffIds, [one.diffId]);
  await run("truncate", ["--size=3M", `${scratch.path}/1.tar`]);
  const reference = await make("manifest.json", "1.tar", parts.manifest.Config as string);
  await rejects(() => held(reference), "BROKEN_ARCHIVE", `Cannot read ${reference}: 1.tar is stored with holes.`);
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

Deno.test("archives that are damaged anywhere are read as they were, or refused by name", async () => {
  await using scratch = scratchDirectory("archives");
  const one = layerOf("a", "one"), two = layerOf("b", "two"), random = new Random(30);
  const parts = dockerParts([{ ...one, name: "x/1.tar" }, { ...two, name: "2.tar" }]);
  const path = writeArchive(scratch.path, "good.tar", [
    t.symlink("x/1.tar", "../1.tar"),
    t.file("1.tar", one.tar),
    t.file("n".repeat(150), two.tar),
    t.hardlink("2.tar", "n".repeat(150)),
    parts.config,
    t.file("manifest.json", JSON.stringify([parts.manifest])),
  ]);
  const expected = await held(`docker-archive:${path}`), before = openDescriptors();
  const good = new Uint8Array(readFileSync(path)), outcomes = { same: 0, refused: 0 };
  for (let round = 0; round < 400; round++) {
    const bytes = round % 2 === 0 ? random.mutate(good) : good.slice(), name = `${scratch.path}/m.tar`;
    if (round % 2 === 1) bytes[random.next(bytes.length)] = random.next(256);
    writeFileSync(name, round % 3 === 0 ? gzipSync(bytes) : bytes);
    try {
      const found = await held(`docker-archive:${name}`);
      assert.deepEqual(found.layers, expected.layers);
      outcomes.same++;
    } catch (thrown) {
      if (!(thrown instanceof CosError)) throw new Error(`round ${round}`, { cause: thrown });
      assert.ok(thrown.code !== "INTERNAL", thrown.message);
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.same > 10 && outcomes.refused > 100, JSON.stringify(outcomes));
  assert.deepEqual(openDescriptors(), before);
});
