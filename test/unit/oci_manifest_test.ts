/** Manifests that two programs could read as two things (CVE-2021-41190), as they come from a registry. */
import assert from "node:assert/strict";
import { MEDIA_TYPES } from "../../lib/formats/manifest.ts";
import { type ResolvedImage, resolveImage } from "../../lib/oci/pull.ts";
import { rejects } from "../lab/expect.ts";
import { body, type FakeRegistry, fakeRegistry } from "../lab/fake-registry.ts";
import { sourceOf } from "../lab/pulling.ts";

const AMD64 = { os: "linux", architecture: "amd64" };
const CONFIG = "application/vnd.oci.image.config.v1+json";

function parts(registry: FakeRegistry) {
  const rootfs = { type: "layers", diff_ids: [`sha256:${"d".repeat(64)}`] };
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: registry.blob(JSON.stringify({ ...AMD64, rootfs }), CONFIG),
    layers: [registry.blob("layer", "application/vnd.oci.image.layer.v1.tar")],
  };
}

async function served(text: (registry: FakeRegistry) => unknown, contentType: string | null): Promise<ResolvedImage> {
  await using registry = fakeRegistry();
  const bytes = new TextEncoder().encode(JSON.stringify(text(registry)));
  registry.answer = (_, url) => {
    if (!url.pathname.includes("/manifests/")) return undefined;
    return body(bytes, contentType === null ? {} : { headers: { "content-type": contentType } });
  };
  return await resolveImage(sourceOf(`${registry.host}/os:v1`), AMD64).catch((thrown) => {
    thrown.message = thrown.message.replace(registry.host, "HOST");
    throw thrown;
  });
}

Deno.test("what the registry calls a manifest must be what it calls itself; a type that says nothing contradicts nothing", async () => {
  for (
    const type of [
      MEDIA_TYPES.ociManifest,
      `${MEDIA_TYPES.ociManifest}; charset=utf-8`,
      "application/json",
      "text/plain; charset=utf-8",
      "application/octet-stream",
      null,
    ]
  ) assert.equal((await served(parts, type)).manifest.layers.length, 1, String(type));
  for (const type of [MEDIA_TYPES.dockerManifest, MEDIA_TYPES.ociIndex, "text/html"]) {
    await rejects(
      () => served(parts, type),
      "UNSUPPORTED_IMAGE",
      `Cannot use HOST/os:v1: its manifest says it is ${MEDIA_TYPES.ociManifest} and was served as ${type}.`,
    );
  }
});

Deno.test("a manifest of two kinds, or with fields that Go's programs take for others, is refused", async () => {
  const refused = (more: object, why: string) =>
    rejects(
      () => served((registry) => ({ ...parts(registry), ...more }), MEDIA_TYPES.ociManifest),
      "UNSUPPORTED_IMAGE",
      `Cannot use HOST/os:v1: ${why}.`,
    );
  await refused({ manifests: [] }, "its manifest claims to be an index and an image at once");
  await refused({ fsLayers: [] }, "its manifest claims to be of two schemas at once");
  await refused({ history: [] }, "its manifest claims to be of two schemas at once");
  await refused({ Layers: [] }, "its manifest has a field Layers, which other programs take for another");
  await refused({ MANIFESTS: [] }, "its manifest has a field MANIFESTS, which other programs take for another");
  await refused({ mediatype: "x" }, "its manifest has a field mediatype, which other programs take for another");
  await refused({ config: { digest: "md5:00", size: 1 } }, "its manifest is malformed at config.digest");
  await refused(
    { layers: [{ digest: `sha256:../../${"0".repeat(58)}`, size: 1 }] },
    "its manifest is malformed at layers.0.digest",
  );
  await refused({ schemaVersion: 1 }, "its manifest is of Docker's schema 1, whose layers no digest proves");
  await refused({ artifactType: "application/x" }, "it is an artifact (application/x), not a system image");
});

Deno.test("an index with levels of a processor gives the best that runs; the configuration is held to the same", async () => {
  const image = (registry: FakeRegistry, variant: string | undefined, said = variant) => {
    const platform = { ...AMD64, ...(variant !== undefined && { variant }) };
    const rootfs = { type: "layers", diff_ids: [`sha256:${"d".repeat(64)}`] };
    const config = registry.blob(JSON.stringify({ ...AMD64, variant: said, rootfs }), CONFIG);
    const { digest, size, mediaType } = registry.manifest({ ...parts(registry), config });
    return { digest, size, mediaType, platform };
  };
  await using registry = fakeRegistry();
  const [v1, v2, v3] = [undefined, "v2", "v3"].map((variant) => image(registry, variant));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex };
  registry.manifest({ ...index, manifests: [v1, v3, v2] }, "all");
  registry.manifest({ ...index, manifests: [image(registry, "v1", "v4")] }, "liar");
  const chosen = async (level: number, tag = "all") =>
    (await resolveImage(sourceOf(`${registry.host}/os:${tag}`), { ...AMD64, level: () => level })).digest;
  assert.deepEqual([await chosen(1), await chosen(2), await chosen(3), await chosen(4)], [
    v1?.digest,
    v2?.digest,
    v3?.digest,
    v3?.digest,
  ]);
  await rejects(
    () => chosen(3, "liar"),
    "UNSUPPORTED_IMAGE",
    `Cannot use ${registry.host}/os:liar: it is made for linux/amd64/v4, and this machine is linux/amd64/v3.`,
  );
});
