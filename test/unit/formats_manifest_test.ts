import assert from "node:assert/strict";
import {
  type Manifest,
  MAX_LAYERS,
  MEDIA_TYPES,
  parseConfig,
  type ParsedManifest,
  parseManifest,
} from "../../lib/formats/manifest.ts";
import { fails } from "../lab/expect.ts";

const D1 = `sha256:${"1".repeat(64)}`, D2 = `sha256:${"2".repeat(64)}`, D3 = `sha512:${"3".repeat(128)}`;
const OCI_CONFIG = { mediaType: "application/vnd.oci.image.config.v1+json", digest: D1, size: 100 };
const OCI_LAYER = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: D2, size: 200 };
const OCI = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: OCI_CONFIG, layers: [OCI_LAYER] };
const DOCKER = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.dockerManifest,
  config: { mediaType: "application/vnd.docker.container.image.v1+json", digest: D1, size: 100 },
  layers: [{ mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", digest: D3, size: 5_000_000_000 }],
};
const INDEX = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [{
    mediaType: MEDIA_TYPES.ociManifest,
    digest: D1,
    size: 5,
    platform: { os: "linux", architecture: "amd64" },
  }],
};

function parse(body: unknown, mediaType?: string): ParsedManifest {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return parseManifest(new TextEncoder().encode(text), mediaType, "r.example/os:v1");
}

/** Asserts that the body is refused, for this reason. */
function refused(body: unknown, why: string, mediaType?: string): void {
  fails(() => parse(body, mediaType), "UNSUPPORTED_IMAGE", `Cannot use r.example/os:v1: ${why}.`);
}

Deno.test("manifests and indexes of OCI and Docker are read, whether the type stands in the body, the header or both", () => {
  const { mediaType: _1, ...ociBare } = OCI;
  const { mediaType: _2, ...indexBare } = INDEX;
  assert.deepEqual(parse(OCI, MEDIA_TYPES.ociManifest), { kind: "manifest", manifest: OCI });
  assert.deepEqual(parse(OCI), { kind: "manifest", manifest: OCI });
  assert.deepEqual(parse(ociBare, MEDIA_TYPES.ociManifest), { kind: "manifest", manifest: ociBare });
  assert.deepEqual(parse(ociBare), { kind: "manifest", manifest: ociBare });
  assert.deepEqual(parse(DOCKER, MEDIA_TYPES.dockerManifest), { kind: "manifest", manifest: DOCKER });
  assert.deepEqual(parse(INDEX, MEDIA_TYPES.ociIndex), { kind: "index", index: INDEX });
  assert.deepEqual(parse(indexBare, MEDIA_TYPES.dockerList), { kind: "index", index: indexBare });
  assert.deepEqual(parse({ ...INDEX, manifests: [] }), { kind: "index", index: { ...INDEX, manifests: [] } });
});

Deno.test("a registry that serves plain JSON, or adds parameters to the type, is understood", () => {
  assert.equal(parse(OCI, "application/json").kind, "manifest");
  assert.equal(parse(INDEX, "application/json; charset=utf-8").kind, "index");
  assert.equal(parse(OCI, `${MEDIA_TYPES.ociManifest}; charset=utf-8`).kind, "manifest");
});

Deno.test("null where Go writes it for an empty map is no fault", () => {
  const config = { ...OCI_CONFIG, annotations: null, platform: null };
  const body = { ...OCI, annotations: null, config };
  assert.deepEqual(parse(body), { kind: "manifest", manifest: body });
});

Deno.test("sizes beyond 32 bits stay exact", () => {
  const parsed = parse(DOCKER);
  assert.equal(parsed.kind === "manifest" && parsed.manifest.layers[0]?.size, 5_000_000_000);
});

Deno.test("a body that two readers could take for two things is refused", () => {
  const both = "its manifest claims to be an index and an image at once";
  refused({ ...OCI, manifests: INDEX.manifests }, both);
  refused({ ...INDEX, layers: [] }, both);
  refused({ ...INDEX, config: OCI_CONFIG }, both);
  refused(
    OCI,
    `its manifest says it is ${MEDIA_TYPES.ociManifest} and was served as ${MEDIA_TYPES.ociIndex}`,
    MEDIA_TYPES.ociIndex,
  );
  refused(
    { ...INDEX, mediaType: MEDIA_TYPES.ociManifest },
    `its index is of the unknown type ${MEDIA_TYPES.ociManifest}`,
  );
  refused({ ...OCI, mediaType: MEDIA_TYPES.ociIndex }, `its manifest is of the unknown type ${MEDIA_TYPES.ociIndex}`);
});

Deno.test("schema 1, artifacts and unknown types are refused by name", () => {
  refused(
    { schemaVersion: 1, name: "os", fsLayers: [], history: [] },
    "its manifest is of Docker's schema 1, whose layers no digest proves",
  );
  refused(
    { ...OCI, artifactType: "application/spdx+json" },
    "it is an artifact (application/spdx+json), not a system image",
  );
  const helm = "application/vnd.cncf.helm.config.v1+json";
  refused({ ...OCI, config: { ...OCI_CONFIG, mediaType: helm } }, `it is an artifact (${helm}), not a system image`);
  const empty = "application/vnd.oci.empty.v1+json";
  refused({ ...OCI, config: { ...OCI_CONFIG, mediaType: empty } }, `it is an artifact (${empty}), not a system image`);
  refused(
    { ...OCI, config: { digest: D1, size: 1 } },
    "it is an artifact (of no type), not a system image",
  );
  refused(OCI, `its manifest says it is ${MEDIA_TYPES.ociManifest} and was served as text/html`, "text/html");
  const { mediaType: _, ...bare } = OCI;
  refused(bare, "its manifest is of the unknown type text/html", "text/html");
});

Deno.test("what is no manifest is refused with the place of the fault", () => {
  const cases: [unknown, string][] = [
    ["", "its manifest is no JSON"],
    ["{", "its manifest is no JSON"],
    ["<html></html>", "its manifest is no JSON"],
    ["\ufeff\ufeff{}", "its manifest is no JSON"],
    ["null", "its manifest is no object"],
    ["[]", "its manifest is no object"],
    ['"text"', "its manifest is no object"],
    [{}, "its manifest is malformed at schemaVersion"],
    [{ ...OCI, schemaVersion: 3 }, "its manifest is malformed at schemaVersion"],
    [{ ...OCI, schemaVersion: "2" }, "its manifest is malformed at schemaVersion"],
    [{ ...OCI, config: null }, "its manifest is malformed at config"],
    [{ ...OCI, config: { ...OCI_CONFIG, digest: "sha256:abc" } }, "its manifest is malformed at config.digest"],
    [{ ...OCI, config: { ...OCI_CONFIG, digest: "sha256:../../etc" } }, "its manifest is malformed at config.digest"],
    [{ ...OCI, config: { ...OCI_CONFIG, size: -1 } }, "its manifest is malformed at config.size"],
    [{ ...OCI, layers: null }, "its manifest is malformed at layers"],
    [{ ...OCI, layers: {} }, "its manifest is malformed at layers"],
    [{ ...OCI, layers: [OCI_LAYER, { ...OCI_LAYER, size: 1.5 }] }, "its manifest is malformed at layers.1.size"],
    [{ ...OCI, layers: [{ ...OCI_LAYER, size: 2 ** 53 }] }, "its manifest is malformed at layers.0.size"],
    [{ ...OCI, layers: [{ ...OCI_LAYER, size: "200" }] }, "its manifest is malformed at layers.0.size"],
    [{ ...OCI, annotations: { a: 1 } }, "its manifest is malformed at annotations.a"],
    [{ ...OCI, layers: [] }, "it has no layers"],
    [{ ...INDEX, manifests: null }, "its index is malformed at manifests"],
    [{ ...INDEX, manifests: [{ digest: D1 }] }, "its index is malformed at manifests.0.size"],
    [{ ...INDEX, schemaVersion: 1 }, "its manifest is of Docker's schema 1, whose layers no digest proves"],
  ];
  for (const [body, why] of cases) refused(body, why);
});

Deno.test("bytes that are no UTF-8 are no JSON", () => {
  const bytes = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d);
  fails(() => parseManifest(bytes, undefined, "x"), "UNSUPPORTED_IMAGE", "Cannot use x: its manifest is no JSON.");
});

Deno.test("more layers than any system has are refused, and so many as are allowed are read", () => {
  const layers = (count: number) => ({ ...OCI, layers: Array(count).fill(OCI_LAYER) });
  assert.equal(parse(layers(MAX_LAYERS)).kind, "manifest");
  refused(layers(MAX_LAYERS + 1), "it has 513 layers; at most 512 are read");
  refused({ ...INDEX, manifests: Array(1025).fill({}) }, "it has 1025 images; at most 1024 are read");
});

Deno.test("what a hostile manifest says of itself reaches no terminal as it is, and not at any length", () => {
  refused({ ...OCI, mediaType: "\x1b[2Jx" }, "its manifest is of the unknown type \\u001b[2Jx");
  refused({ ...OCI, artifactType: "a\nError: b\x9b" }, "it is an artifact (a\\nError: b\\u009b), not a system image");
  refused(
    { ...OCI, artifactType: "x".repeat(10_000) },
    `it is an artifact (${"x".repeat(200)}…), not a system image`,
  );
  refused({ ...OCI, annotations: { "\x1b[31m": 1 } }, "its manifest is malformed at annotations.\\u001b[31m");
  refused({ ...INDEX, mediaType: "\x07" }, "its index is of the unknown type \\u0007");
  refused(
    OCI,
    `its manifest says it is ${MEDIA_TYPES.ociManifest} and was served as \\u001b]0,x`,
    "\x1b]0,x",
  );
});

Deno.test("keys that mean something to JavaScript are names like others", () => {
  const body = `{"schemaVersion":2,"__proto__":{"layers":[]},"config":${JSON.stringify(OCI_CONFIG)},` +
    `"layers":[${JSON.stringify(OCI_LAYER)}],"annotations":{"__proto__":"x","constructor":"y"}}`;
  const parsed = parse(body);
  assert.equal(parsed.kind, "manifest");
  assert.equal(({} as Record<string, unknown>)["layers"], undefined);
});

const MANIFEST = OCI as unknown as Manifest;

function config(body: unknown, manifest = MANIFEST) {
  return parseConfig(new TextEncoder().encode(JSON.stringify(body)), manifest, "r.example/os:v1");
}

Deno.test("a configuration is read with what is known of it", () => {
  const body = {
    architecture: "amd64",
    os: "linux",
    created: "2026-01-01T00:00:00Z",
    config: { Labels: { a: "b" } },
    rootfs: { type: "layers", diff_ids: [D3] },
  };
  assert.deepEqual(config({ ...body, history: [{ empty_layer: true }] }), body);
  const bare = { created: null, config: null, rootfs: { type: "layers", diff_ids: [D1] } };
  assert.deepEqual(config(bare), bare);
  const noLabels = { config: { Labels: null }, rootfs: { type: "layers", diff_ids: [D1] } };
  assert.deepEqual(config(noLabels), noLabels);
});

Deno.test("a configuration that does not fit its manifest, or is none, is refused", () => {
  const cases: [unknown, string][] = [
    [{}, "its configuration is malformed at rootfs"],
    [{ rootfs: { type: "layers", diff_ids: null } }, "its configuration is malformed at rootfs.diff_ids"],
    [{ rootfs: { type: "chunks", diff_ids: [D1] } }, "its configuration is malformed at rootfs.type"],
    [{ rootfs: { type: "layers", diff_ids: ["x"] } }, "its configuration is malformed at rootfs.diff_ids.0"],
    [{ rootfs: { type: "layers", diff_ids: [] } }, "its manifest names 1 layers and its configuration 0"],
    [{ rootfs: { type: "layers", diff_ids: [D1, D2] } }, "its manifest names 1 layers and its configuration 2"],
    [null, "its configuration is malformed"],
  ];
  for (const [body, why] of cases) {
    fails(() => config(body), "UNSUPPORTED_IMAGE", `Cannot use r.example/os:v1: ${why}.`);
  }
});

Deno.test("a field that Go's programs take for another is refused, in any alphabet's letters and at any depth", () => {
  const twin = (name: string) => `its manifest has a field ${name}, which other programs take for another`;
  refused({ ...OCI, Layers: [] }, twin("Layers"));
  // The long s is one for Go, and so is the Kelvin sign a k.
  refused({ ...OCI, "layer\u017f": [] }, twin("layer\u017f"));
  refused({ ...INDEX, "manife\u017ft\u017f": [] }, twin("manife\u017ft\u017f"));
  refused({ ...OCI, layers: [{ ...OCI_LAYER, Digest: D1 }] }, twin("Digest"));
  refused({ ...OCI, layers: [{ ...OCI_LAYER, digeſt: D1 }] }, twin("dige\u017ft"));
  refused({ ...OCI, config: { ...OCI_CONFIG, DIGEST: D1 } }, twin("DIGEST"));
  const [entry] = INDEX.manifests;
  refused({ ...INDEX, manifests: [{ ...entry, Platform: {} }] }, twin("Platform"));
  refused({ ...INDEX, manifests: [{ ...entry, platform: { os: "linux", OS: "x" } }] }, twin("OS"));
  assert.equal(parse({ ...OCI, annotations: { digest: "x", Digest: "y" } }).kind, "manifest");
  const diffs = { type: "layers", diff_ids: OCI.layers.map(() => D1) };
  const config = (body: object) => () =>
    parseConfig(new TextEncoder().encode(JSON.stringify(body)), OCI as unknown as Manifest, "r.example/os:v1");
  const why = (name: string) =>
    `Cannot use r.example/os:v1: its configuration has a field ${name}, which other programs take for another.`;
  fails(config({ rootfs: diffs, RootFS: diffs }), "UNSUPPORTED_IMAGE", why("RootFS"));
  fails(config({ rootfs: { ...diffs, "diff_id\u017f": [] } }), "UNSUPPORTED_IMAGE", why("diff_id\u017f"));
  // Docker's own "os.version" and "Config" beside "config" are others' fields.
  assert.equal(
    config({ rootfs: diffs, "os.version": "1", container_config: {} })().rootfs.diff_ids.length,
    diffs.diff_ids.length,
  );
});
