/**
 * Image indexes, manifests and configurations: OCI image-spec 1.1 and Docker's "Image Manifest Version 2, Schema 2".
 * Everything is parsed from bytes whose digest was checked before.
 */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { type Digest, isDigest } from "../base/digest.ts";
import { check, limit, parseJson, refuseTwins, unsupported } from "./manifest-json.ts";

export const MEDIA_TYPES = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
} as const;

/** Manifests and configurations longer than this are refused (the limit of containers/image). Bytes. */
export const MAX_MANIFEST = 4 * 1024 * 1024;
export const MAX_LAYERS = 512;
/** Platforms, attestations and signatures of one image; the largest known have some dozens. */
export const MAX_INDEX_ENTRIES = 1024;

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value));
// Sizes are exact up to 2^53; what is larger cannot be a blob.
const size = z.int().check(z.nonnegative());

const platform = z.object({
  architecture: z.string(),
  os: z.string(),
  variant: z.optional(z.string()),
});
export type Platform = z.infer<typeof platform>;

export const descriptor = z.object({
  mediaType: z.optional(z.string()),
  digest,
  size,
  annotations: z.optional(z.nullable(z.record(z.string(), z.string()))),
  platform: z.optional(z.nullable(z.partial(platform))),
  artifactType: z.optional(z.string()),
  urls: z.optional(z.nullable(z.array(z.string()))),
});
export type Descriptor = z.infer<typeof descriptor>;

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.optional(z.string()),
  manifests: z.array(descriptor),
  annotations: z.optional(z.nullable(z.record(z.string(), z.string()))),
});
export type ImageIndex = z.infer<typeof indexSchema>;

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.optional(z.string()),
  artifactType: z.optional(z.string()),
  config: descriptor,
  layers: z.array(descriptor),
  annotations: z.optional(z.nullable(z.record(z.string(), z.string()))),
});
export type Manifest = z.infer<typeof manifestSchema>;

const configSchema = z.object({
  architecture: z.optional(z.string()),
  os: z.optional(z.string()),
  variant: z.optional(z.string()),
  created: z.optional(z.nullable(z.string())),
  config: z.optional(z.nullable(z.object({ Labels: z.optional(z.nullable(z.record(z.string(), z.string()))) }))),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digest) }),
});
export type ImageConfig = z.infer<typeof configSchema>;

/** Programs in Go read `Layers` as `layers`: one who checks the image must not see other layers than we do. */
export const FIELDS = ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject"];
const DESCRIPTOR_FIELDS = ["mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType"];
const PLATFORM_FIELDS = ["architecture", "os", "variant"];
const CONFIG_FIELDS = [...PLATFORM_FIELDS, "created", "config", "rootfs"], ROOTFS_FIELDS = ["type", "diff_ids"];

/** What file servers say that know no better: it contradicts nothing. */
const NEUTRAL = new Set(["", "application/json", "application/octet-stream", "text/plain"]);

export type ParsedManifest = { kind: "index"; index: ImageIndex } | { kind: "manifest"; manifest: Manifest };

const IMAGE_CONFIGS = new Set([
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
]);

/**
 * @param mediaType what the registry or the descriptor says; a body that says otherwise is refused, for two readers could
 * take it for two things (CVE-2021-41190).
 * Throws `UNSUPPORTED_IMAGE`.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string | undefined, subject: string): ParsedManifest {
  const json = parseJson(bytes, subject, "manifest");
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw unsupported(subject, "its manifest is no object");
  }
  const body = json as Record<string, unknown>;
  if (body.schemaVersion === 1) {
    throw unsupported(
      subject,
      "its manifest is of Docker's schema 1, whose layers no digest proves",
      "Push the image again with a tool of this decade.",
    );
  }
  if ("manifests" in body && ("layers" in body || "config" in body)) {
    throw unsupported(subject, "its manifest claims to be an index and an image at once");
  }
  if ("fsLayers" in body || "history" in body) {
    throw unsupported(subject, "its manifest claims to be of two schemas at once");
  }
  refuseTwins(body, FIELDS, subject, "manifest");
  const served = mediaType?.split(";")[0]?.trim(),
    told = served !== undefined && NEUTRAL.has(served) ? undefined : served;
  if (typeof body.mediaType === "string" && told !== undefined && told !== body.mediaType) {
    throw unsupported(
      subject,
      `its manifest says it is ${displayText(body.mediaType)} and was served as ${displayText(told)}`,
    );
  }
  const type = typeof body.mediaType === "string" ? body.mediaType : told;
  if ("manifests" in body) {
    if (type !== undefined && type !== MEDIA_TYPES.ociIndex && type !== MEDIA_TYPES.dockerList) {
      throw unsupported(subject, `its index is of the unknown type ${displayText(type)}`);
    }
    limit(body.manifests, MAX_INDEX_ENTRIES, subject, "images");
    refuseDescriptorTwins(body.manifests, subject);
    return { kind: "index", index: check(indexSchema, body, subject, "index") };
  }
  if (type !== undefined && type !== MEDIA_TYPES.ociManifest && type !== MEDIA_TYPES.dockerManifest) {
    throw unsupported(subject, `its manifest is of the unknown type ${displayText(type)}`);
  }
  limit(body.layers, MAX_LAYERS, subject, "layers");
  refuseDescriptorTwins(body.layers, subject);
  refuseDescriptorTwins([body.config], subject);
  const manifest = check(manifestSchema, body, subject, "manifest");
  const configType = manifest.config.mediaType ?? "";
  if (manifest.artifactType !== undefined || !IMAGE_CONFIGS.has(configType)) {
    const kind = displayText(manifest.artifactType ?? configType) || "of no type";
    throw unsupported(subject, `it is an artifact (${kind}), not a system image`);
  }
  if (manifest.layers.length === 0) throw unsupported(subject, "it has no layers");
  return { kind: "manifest", manifest };
}

/** Throws `UNSUPPORTED_IMAGE`, also where the configuration does not fit its manifest. */
export function parseConfig(bytes: Uint8Array, manifest: Manifest, subject: string): ImageConfig {
  const json = parseJson(bytes, subject, "configuration");
  refuseTwins(json, CONFIG_FIELDS, subject, "configuration");
  refuseTwins((json as { rootfs?: unknown } | null)?.rootfs, ROOTFS_FIELDS, subject, "configuration");
  const config = check(configSchema, json, subject, "configuration");
  const layers = manifest.layers.length, diffIds = config.rootfs.diff_ids.length;
  if (layers !== diffIds) {
    throw unsupported(subject, `its manifest names ${layers} layers and its configuration ${diffIds}`);
  }
  return config;
}

export function refuseDescriptorTwins(list: unknown, subject: string): void {
  if (!Array.isArray(list)) return;
  for (const item of list as ({ platform?: unknown } | null)[]) {
    refuseTwins(item, DESCRIPTOR_FIELDS, subject, "manifest");
    refuseTwins(item?.platform, PLATFORM_FIELDS, subject, "manifest");
  }
}
