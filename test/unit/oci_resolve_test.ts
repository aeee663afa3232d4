/** From a reference to a proven manifest and configuration, out of registries and layouts. */
import assert from "node:assert/strict";
import { MEDIA_TYPES, type Platform } from "../../lib/formats/manifest.ts";
import type { LayoutReference } from "../../lib/formats/reference.ts";
import { LayoutSource } from "../../lib/oci/layout.ts";
import { layerBytes, type ResolvedImage, resolveImage } from "../../lib/oci/pull.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { collect, rejects } from "../lab/expect.ts";
import { type FakeRegistry, fakeRegistry } from "../lab/fake-registry.ts";
import { type ImageSpec, packLayer, writeLayout } from "../lab/oci-layout.ts";
import { sourceOf } from "../lab/pulling.ts";
import * as t from "../lab/tar-writer.ts";

const AMD64: Platform = { os: "linux", architecture: "amd64" };
const DIFF_ID = `sha256:${"d".repeat(64)}`;

/** Stores an image with one layer in the registry. */
function image(
  registry: FakeRegistry,
  options: { platform?: object; docker?: boolean; tags?: string[]; layer?: string } = {},
) {
  const kind = options.docker
    ? "application/vnd.docker.container.image.v1+json"
    : "application/vnd.oci.image.config.v1+json";
  const config = { ...(options.platform ?? AMD64), rootfs: { type: "layers", diff_ids: [DIFF_ID] } };
  return registry.manifest({
    schemaVersion: 2,
    mediaType: options.docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest,
    config: registry.blob(JSON.stringify(config), kind),
    layers: [registry.blob(options.layer ?? "layer", "application/vnd.oci.image.layer.v1.tar+gzip")],
  }, ...(options.tags ?? []));
}

function told({ digest, indexDigest, manifest, config }: ResolvedImage) {
  return { digest, indexDigest, layers: manifest.layers.length, diffIds: config.rootfs.diff_ids };
}

Deno.test("an image is found behind a manifest of either family, and behind an index with attestations", async () => {
  await using registry = fakeRegistry();
  const plain = image(registry, { tags: ["plain"] }), docker = image(registry, { docker: true, tags: ["docker"] });
  const arm = image(registry, { platform: { os: "linux", architecture: "arm64" } });
  const unknown = { os: "unknown", architecture: "unknown" }, attestation = image(registry, { platform: unknown });
  const entry = ({ mediaType, digest, size }: typeof plain, platform: object) => ({
    mediaType,
    digest,
    size,
    platform,
  });
  const index = registry.manifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [entry(attestation, unknown), entry(arm, { os: "linux", architecture: "arm64" }), entry(plain, AMD64)],
  }, "index");
  const list = registry.manifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.dockerList,
    manifests: [entry(docker, AMD64)],
  }, "list");
  const { mediaType, digest, size } = index;
  const nested = registry.manifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ mediaType, digest, size }],
  }, "nested");
  const base = { layers: 1, diffIds: [DIFF_ID] };
  const resolve = async (tag: string) => told(await resolveImage(sourceOf(`${registry.host}/os${tag}`), AMD64));
  assert.deepEqual(await resolve(":plain"), { ...base, digest: plain.digest, indexDigest: undefined });
  assert.deepEqual(await resolve(":docker"), { ...base, digest: docker.digest, indexDigest: undefined });
  assert.deepEqual(await resolve(":index"), { ...base, digest: plain.digest, indexDigest: index.digest });
  assert.deepEqual(await resolve(`@${index.digest}`), { ...base, digest: plain.digest, indexDigest: index.digest });
  assert.deepEqual(await resolve(":list"), { ...base, digest: docker.digest, indexDigest: list.digest });
  assert.deepEqual(await resolve(":nested"), { ...base, digest: plain.digest, indexDigest: nested.digest });
});

Deno.test("a registry that lies is caught: about the manifest, one behind an index, the configuration, a layer", async () => {
  await using registry = fakeRegistry();
  const plain = image(registry, { tags: ["v1"] });
  const lie = (path: string, content: string) =>
    registry.answer = (_, url) =>
      url.pathname.endsWith(path)
        ? new Response(content, { headers: { "content-type": MEDIA_TYPES.ociManifest } })
        : undefined;
  const name = `${registry.host}/os@${plain.digest}`;
  const other = `sha256:a8cf17a24f5fa35e65d98d9ab88a50bd4f1a5e5a24f3ed7ba4a4f2d1b5d1ae7c`;
  assert.notEqual(plain.digest, other);

  lie(plain.digest, "{}");
  await rejects(
    () => resolveImage(sourceOf(name), AMD64),
    "DIGEST_MISMATCH",
    `Refused the manifest of ${name}: expected ${plain.digest}, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.`,
  );
  const { mediaType, digest, size } = plain;
  registry.manifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ mediaType, digest, size, platform: AMD64 }],
  }, "index");
  await rejects(
    () => resolveImage(sourceOf(`${registry.host}/os:index`), AMD64),
    "DIGEST_MISMATCH",
    `Refused the manifest of ${registry.host}/os:index: expected ${plain.digest}, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.`,
  );

  registry.answer = () => undefined;
  const { manifest } = await resolveImage(sourceOf(name), AMD64);
  const configText = JSON.stringify({ ...AMD64, rootfs: { type: "layers", diff_ids: [DIFF_ID] } });
  const what = `the configuration of ${name}`;
  lie(manifest.config.digest, "x".repeat(configText.length));
  const { createHash } = await import("node:crypto");
  const wrong = `sha256:${createHash("sha256").update("x".repeat(configText.length)).digest("hex")}`;
  await rejects(
    () => resolveImage(sourceOf(name), AMD64),
    "DIGEST_MISMATCH",
    `Refused ${what}: expected ${manifest.config.digest}, got ${wrong}.`,
  );
  lie(manifest.config.digest, `${configText} `);
  await rejects(
    () => resolveImage(sourceOf(name), AMD64),
    "DIGEST_MISMATCH",
    `Refused ${what}: expected ${configText.length} bytes, got more.`,
  );

  registry.answer = () => undefined;
  const resolved = await resolveImage(sourceOf(name), AMD64), [layer] = resolved.manifest.layers;
  assert.ok(layer !== undefined);
  assert.equal(new TextDecoder().decode(t.concat(await collect(layerBytes(resolved, layer)))), "layer");
  lie(layer.digest, "lawyr");
  await rejects(
    () => collect(layerBytes(resolved, layer)),
    "DIGEST_MISMATCH",
    `Refused layer ${layer.digest} of ${name}: expected ${layer.digest}, got sha256:${
      createHash("sha256").update("lawyr").digest("hex")
    }.`,
  );
});

Deno.test("images for other machines, endless indexes and announcements beyond the limits are refused", async () => {
  await using registry = fakeRegistry();
  const refused = async (tag: string, why: string) =>
    await rejects(
      () => resolveImage(sourceOf(`${registry.host}/os:${tag}`), AMD64),
      "UNSUPPORTED_IMAGE",
      `Cannot use ${registry.host}/os:${tag}: ${why}.`,
    );
  const arm = { os: "linux", architecture: "arm64" },
    { mediaType, digest, size } = image(registry, { platform: arm, tags: ["arm"] });
  await refused("arm", "it is made for linux/arm64, and this machine is linux/amd64");
  const index = (manifests: object[], ...tags: string[]) =>
    registry.manifest({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }, ...tags);
  index([{ mediaType, digest, size, platform: arm }, { mediaType, digest, size, platform: arm }], "others");
  await refused("others", "it is not made for linux/amd64, only for linux/arm64");
  index(
    Array.from(
      { length: 20 },
      (_, i) => ({ mediaType, digest, size, platform: { os: "\x1b", architecture: `a${i}` } }),
    ),
    "many",
  );
  const shown = Array.from({ length: 12 }, (_, i) => `\\u001b/a${i}`).join(", ");
  await refused("many", `it is not made for linux/amd64, only for ${shown}, …`);
  index([], "empty");
  await refused("empty", "it is not made for linux/amd64, only for nothing");
  index([{ mediaType, digest, size: (4 << 20) + 1 }], "large");
  await refused("large", "its manifest is longer than 4194304 bytes");
  let deep = image(registry);
  for (let i = 0; i < 4; i++) {
    const { mediaType, digest, size } = deep;
    deep = index([{ mediaType, digest, size }], "deep");
  }
  await refused("deep", "its indexes are nested deeper than 3");
  registry.manifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: (4 << 20) + 1 },
    layers: [{ digest, size: 1 }],
  }, "config");
  await refused("config", "its configuration is longer than 4194304 bytes");
});

function layout(path: string, tag?: string): LayoutSource {
  return new LayoutSource({ kind: "layout", path, ...(tag !== undefined && { tag }) } as LayoutReference);
}

const LAYER = packLayer(t.tar([t.file("a", "content")]), "gzip");
const SPEC: ImageSpec = { layers: [LAYER], platform: AMD64 };

Deno.test("a layout's only image needs no tag, and one of several is found by its tag", async () => {
  await using scratch = scratchDirectory("layout");
  const [one] = writeLayout(`${scratch.path}/one`, { v1: SPEC });
  for (const tag of [undefined, "v1"]) {
    const resolved = await resolveImage(layout(`${scratch.path}/one`, tag), AMD64);
    assert.deepEqual([resolved.digest, resolved.config.rootfs.diff_ids], [one?.descriptor.digest, [LAYER.diffId]]);
    const [layer] = resolved.manifest.layers;
    assert.ok(layer !== undefined);
    assert.deepEqual(t.concat(await collect(layerBytes(resolved, layer))), new Uint8Array(LAYER.content as Uint8Array));
  }
  const both = writeLayout(`${scratch.path}/two`, {
    v1: SPEC,
    v2: { images: [SPEC, { ...SPEC, platform: { os: "linux", architecture: "arm64" } }], attestation: true },
  });
  const resolved = await resolveImage(layout(`${scratch.path}/two`, "v2"), AMD64);
  assert.equal(resolved.indexDigest, both[1]?.descriptor.digest);
  const name = `oci:${scratch.path}/two`;
  await rejects(
    () => layout(`${scratch.path}/two`).top(),
    "IMAGE_NOT_FOUND",
    `Cannot choose among the 2 images of ${name}.`,
  );
  await rejects(
    () => layout(`${scratch.path}/two`, "v3").top(),
    "IMAGE_NOT_FOUND",
    `Cannot find ${name}:v3: the layout has no such image.`,
  );
});

Deno.test("the hints about a layout name the tags there are, or say that there are none", async () => {
  await using scratch = scratchDirectory("layout");
  const hint = async (manifests: object[], tag?: string) => {
    Deno.writeTextFileSync(`${scratch.path}/index.json`, JSON.stringify({ schemaVersion: 2, manifests }));
    return await layout(scratch.path, tag).top().then(() => "", (thrown) => thrown.hint);
  };
  const entry = (tag?: string) => ({
    digest: DIFF_ID,
    size: 2,
    ...(tag !== undefined && { annotations: { "org.opencontainers.image.ref.name": tag } }),
  });
  assert.deepEqual([
    await hint([], "v1"),
    await hint([entry("a"), entry("b\x1b")], "v1"),
    await hint([entry("a"), entry("b")]),
    await hint([entry(), entry()]),
    await hint([entry(), entry()], "v1"),
    await hint([entry("a"), entry("a")], "a"),
  ], [
    "The layout is empty.",
    "It has: a, b\\u001b.",
    `Name one by its tag: oci:${scratch.path}:a, oci:${scratch.path}:b.`,
    "Its images have no tags: make the layout again with one image, or with tags.",
    "Its images have no tags: make the layout again with one image, or with tags.",
    "Several of its images have this tag: make the layout again.",
  ]);
});

Deno.test("a layout that is incomplete, or lies, is refused", async () => {
  await using scratch = scratchDirectory("layout");
  const path = scratch.path, name = `oci:${path}`;
  const missing = async (file: string) =>
    await rejects(
      () => resolveImage(layout(path), AMD64),
      "IMAGE_NOT_FOUND",
      `Cannot read ${name}: ${path}/${file} does not exist.`,
    );
  await missing("index.json");
  const [written] = writeLayout(path, { v1: SPEC }), config = written?.manifests[0]?.config;
  assert.ok(written !== undefined && config !== undefined);
  const blob = (digest: string) => `blobs/sha256/${digest.slice(7)}`;

  const resolved = await resolveImage(layout(path), AMD64), [layer] = resolved.manifest.layers;
  assert.ok(layer !== undefined);
  Deno.writeTextFileSync(`${path}/${blob(layer.digest)}`, "short");
  await rejects(
    () => collect(layerBytes(resolved, layer)),
    "DIGEST_MISMATCH",
    `Refused layer ${layer.digest} of ${name}: expected ${layer.size} bytes, got 5.`,
  );
  Deno.removeSync(`${path}/${blob(layer.digest)}`);
  await rejects(
    () => collect(layerBytes(resolved, layer)),
    "IMAGE_NOT_FOUND",
    `Cannot read ${name}: ${path}/${blob(layer.digest)} does not exist.`,
  );

  Deno.removeSync(`${path}/${blob(config.digest)}`);
  await missing(blob(config.digest));
  Deno.writeTextFileSync(`${path}/${blob(written.descriptor.digest)}`, "{}");
  await rejects(
    () => resolveImage(layout(path), AMD64),
    "DIGEST_MISMATCH",
    `Refused the manifest of ${name}: expected ${written.descriptor.digest}, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.`,
  );
  Deno.removeSync(`${path}/${blob(written.descriptor.digest)}`);
  await missing(blob(written.descriptor.digest));

  const refused = async (text: string | Uint8Array<ArrayBuffer>, why: string) => {
    Deno.writeFileSync(`${path}/index.json`, typeof text === "string" ? new TextEncoder().encode(text) : text);
    await rejects(() => layout(path).top(), "UNSUPPORTED_IMAGE", `Cannot use ${name}: ${why}.`);
  };
  await refused("{", "its manifest is no JSON");
  await refused(new Uint8Array((4 << 20) + 1), "index.json is longer than 4194304 bytes");
  await refused(
    JSON.stringify({ schemaVersion: 2, manifests: [{ digest: DIFF_ID, size: (4 << 20) + 1 }] }),
    "its manifest is longer than 4194304 bytes",
  );
  await refused(
    JSON.stringify({
      schemaVersion: 2,
      config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: DIFF_ID, size: 1 },
      layers: [{ digest: DIFF_ID, size: 1 }],
    }),
    "its index.json is no index",
  );
});
