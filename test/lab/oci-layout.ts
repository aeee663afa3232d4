/**
 * Writes OCI image layouts (OCI image-spec 1.1, image-layout.md) for tests, the honest ones and those that lie about
 * a digest or a size. The same input always gives the same bytes.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { bytesOf, concat } from "./tar-writer.ts";

/** `gzip-members` and `zstd-frames` are many streams behind one another, as parallel compressors write them. */
export type Compression = "none" | "gzip" | "gzip-members" | "zstd" | "zstd-frames";

export type MediaTypes = "oci" | "docker";

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

/** What a descriptor says instead of the truth; the blob is stored under the digest that is *said*, so a reader finds it. */
export interface Lie {
  digest?: string;
  size?: number;
}

/** A blob's bytes, or the file that holds them (large layers never stand in memory). */
export type Content = Uint8Array | { path: string };

export interface Layer {
  content: Content;
  digest: string;
  size: number;
  diffId: string;
  compression: Compression;
  /** Overrides the media type that the compression asks for. */
  mediaType?: string;
  annotations?: Record<string, string>;
  lie?: Lie & { diffId?: string };
}

export interface ImageSpec {
  layers: Layer[];
  /** Default: linux/amd64. */
  platform?: Platform;
  /** RFC 3339. */
  created?: string;
  /** Labels in the image's config. */
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  mediaTypes?: MediaTypes;
  /** Keys laid over the finished config or manifest, for malformed ones. */
  configOverrides?: Record<string, unknown>;
  manifestOverrides?: Record<string, unknown>;
  configLie?: Lie;
  /** What the index says about this manifest. */
  manifestLie?: Lie;
}

export interface IndexSpec {
  images: ImageSpec[];
  /** Adds the `unknown/unknown` entry in which build tools keep their attestations. */
  attestation?: boolean;
  mediaTypes?: MediaTypes;
  annotations?: Record<string, string>;
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: Platform;
  annotations?: Record<string, string>;
}

export interface WrittenImage {
  tag: string;
  /** What the tag names: a manifest or an index. */
  descriptor: Descriptor;
  /** The images in it, in order: one for a plain manifest. */
  manifests: { descriptor: Descriptor; config: Descriptor }[];
}

const MEDIA_TYPES = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar",
    suffix: { none: "", gzip: "+gzip", zstd: "+zstd" },
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar",
    suffix: { none: "", gzip: ".gzip", zstd: ".zstd" },
  },
} as const;

/** Bytes of tar in each gzip member or zstd frame of the compressions that have many. */
export const PIECE_BYTES = 1 << 20;

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Makes a layer of a tar; one layer may go into several images. */
export function packLayer(tar: Uint8Array, compression: Compression, options: LayerOptions = {}): Layer {
  const content = compress(tar, compression, options.pieceBytes ?? PIECE_BYTES);
  const { mediaType, annotations, lie } = options;
  return {
    content,
    digest: sha256(content),
    size: content.length,
    diffId: sha256(tar),
    compression,
    ...(mediaType !== undefined && { mediaType }),
    ...(annotations !== undefined && { annotations }),
    ...(lie !== undefined && { lie }),
  };
}

export interface LayerOptions extends Pick<Layer, "mediaType" | "annotations" | "lie"> {
  /** Bytes of tar in each gzip member or zstd frame. Default: 1 MiB. */
  pieceBytes?: number;
}

export function compress(tar: Uint8Array, compression: Compression, pieceBytes = PIECE_BYTES): Uint8Array {
  switch (compression) {
    case "none":
      return tar;
    case "gzip":
      return gzipSync(tar);
    case "zstd":
      return zstdCompressSync(tar);
    case "gzip-members":
      return concat(pieces(tar, pieceBytes).map((piece) => gzipSync(piece)));
    case "zstd-frames":
      return concat(pieces(tar, pieceBytes).map((piece) => zstdCompressSync(piece)));
  }
}

function pieces(bytes: Uint8Array, length: number): Uint8Array[] {
  const result: Uint8Array[] = [];
  for (let offset = 0; offset < bytes.length; offset += length) result.push(bytes.subarray(offset, offset + length));
  return result;
}

/**
 * Writes a layout that holds each image or index under its tag. The directory may hold a layout's blobs already, but
 * its `index.json` is written anew.
 */
export function writeLayout(directory: string, images: Record<string, ImageSpec | IndexSpec>): WrittenImage[] {
  mkdirSync(join(directory, "blobs", "sha256"), { recursive: true });
  const written = Object.entries(images).map(([tag, spec]): WrittenImage => {
    if (!("images" in spec)) {
      const image = writeImage(directory, spec);
      return { tag, descriptor: image.descriptor, manifests: [image] };
    }
    return { tag, ...writeIndex(directory, spec) };
  });
  writeFileSync(join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(
    join(directory, "index.json"),
    json({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.oci.index,
      manifests: written.map(({ tag, descriptor }) => ({
        ...descriptor,
        annotations: { ...descriptor.annotations, "org.opencontainers.image.ref.name": tag },
      })),
    }),
  );
  return written;
}

function writeIndex(directory: string, spec: IndexSpec): Omit<WrittenImage, "tag"> {
  const types = MEDIA_TYPES[spec.mediaTypes ?? "oci"];
  const manifests = spec.images.map((image) => writeImage(directory, image));
  const descriptors = manifests.map(({ descriptor }, i) => ({
    ...descriptor,
    platform: spec.images[i]?.platform ?? DEFAULT_PLATFORM,
  }));
  if (spec.attestation === true) descriptors.push(writeAttestation(directory, descriptors[0]?.digest ?? ""));
  const index = bytesOf(json({
    schemaVersion: 2,
    mediaType: types.index,
    manifests: descriptors,
    ...(spec.annotations !== undefined && { annotations: spec.annotations }),
  }));
  return { descriptor: writeBlob(directory, index, types.index), manifests };
}

const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

function writeImage(directory: string, spec: ImageSpec): { descriptor: Descriptor; config: Descriptor } {
  const types = MEDIA_TYPES[spec.mediaTypes ?? "oci"];
  const created = spec.created ?? "2026-01-01T00:00:00Z";
  const configBytes = bytesOf(json({
    created,
    ...(spec.platform ?? DEFAULT_PLATFORM),
    config: { Labels: spec.labels ?? {} },
    rootfs: { type: "layers", diff_ids: spec.layers.map((layer) => layer.lie?.diffId ?? layer.diffId) },
    history: spec.layers.map((_, i) => ({ created, created_by: `layer ${i + 1}` })),
    ...spec.configOverrides,
  }));
  const config = writeBlob(directory, configBytes, types.config, spec.configLie);
  const layers = spec.layers.map((layer): Descriptor => {
    const kind = layer.compression === "none" ? "none" : layer.compression.startsWith("gzip") ? "gzip" : "zstd";
    const descriptor = placeBlob(directory, layer.content, layer, layer.mediaType ?? types.layer + types.suffix[kind]);
    return layer.annotations === undefined ? descriptor : { ...descriptor, annotations: layer.annotations };
  });
  const manifest = bytesOf(json({
    schemaVersion: 2,
    mediaType: types.manifest,
    config,
    layers,
    ...(spec.annotations !== undefined && { annotations: spec.annotations }),
    ...spec.manifestOverrides,
  }));
  return { descriptor: writeBlob(directory, manifest, types.manifest, spec.manifestLie), config };
}

/** An attestation as BuildKit writes it: a manifest with an in-toto layer, for no platform. */
function writeAttestation(directory: string, subject: string): Descriptor & { platform: Platform } {
  const types = MEDIA_TYPES.oci;
  const platform = { architecture: "unknown", os: "unknown" };
  const statement = bytesOf(json({ _type: "https://in-toto.io/Statement/v0.1", subject: [], predicate: {} }));
  const layer = writeBlob(directory, statement, "application/vnd.in-toto+json");
  const configBytes = bytesOf(json({ ...platform, config: {}, rootfs: { type: "layers", diff_ids: [layer.digest] } }));
  const config = writeBlob(directory, configBytes, types.config);
  const manifest = bytesOf(json({ schemaVersion: 2, mediaType: types.manifest, config, layers: [layer] }));
  return {
    ...writeBlob(directory, manifest, types.manifest),
    annotations: {
      "vnd.docker.reference.digest": subject,
      "vnd.docker.reference.type": "attestation-manifest",
    },
    platform,
  };
}

function writeBlob(directory: string, bytes: Uint8Array, mediaType: string, lie?: Lie): Descriptor {
  const truth = { digest: sha256(bytes), size: bytes.length };
  return placeBlob(directory, bytes, lie === undefined ? truth : { ...truth, lie }, mediaType);
}

function placeBlob(
  directory: string,
  content: Content,
  truth: { digest: string; size: number; lie?: Lie },
  mediaType: string,
): Descriptor {
  const digest = truth.lie?.digest ?? truth.digest;
  const [algorithm = "", encoded = ""] = digest.split(":");
  const path = join(directory, "blobs", algorithm, encoded);
  mkdirSync(dirname(path), { recursive: true });
  // A lie goes over an honest blob that is there already; the same honest blob is not written twice.
  if (truth.lie?.digest !== undefined || !existsSync(path)) {
    // Never written into: the file may be a link to a blob that other layouts share.
    rmSync(path, { force: true });
    if (content instanceof Uint8Array) writeFileSync(path, content);
    else linkOrCopy(content.path, path);
  }
  return { mediaType, digest, size: truth.lie?.size ?? truth.size };
}

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    // Another filesystem (EXDEV), or one without hard links (EPERM): the copy is the same blob.
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EXDEV" && code !== "EPERM") throw error;
    copyFileSync(from, to);
  }
}

/** JSON with keys in the order given: the digest of a manifest depends on it. */
function json(value: unknown): string {
  return JSON.stringify(value);
}

/** What a tag of a layout names. */
export function layoutDescriptor(layout: string, tag: string): Descriptor {
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as { manifests: Descriptor[] };
  const found = index.manifests.find((one) => one.annotations?.["org.opencontainers.image.ref.name"] === tag);
  if (found === undefined) throw new Error(`Cannot find the tag "${tag}" in the layout ${layout}`);
  return found;
}

/**
 * Writes a tagged image of a layout in the form of skopeo's `dir:` transport. skopeo 1.9 finds only OCI media types in
 * a layout, so this is the way in for docker's.
 */
export function exportSkopeoDirectory(layout: string, tag: string, directory: string): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "version"), "Directory Transport Version: 1.1\n");
  const blob = (digest: string) => join(layout, "blobs", ...digest.split(":"));
  const hex = (digest: string) => digest.replace(/^.*:/, "");
  const place = (digest: string, name: string) => {
    rmSync(join(directory, name), { force: true });
    linkOrCopy(blob(digest), join(directory, name));
  };
  const placeManifest = (digest: string, name: string) => {
    place(digest, name);
    const { manifests = [], config, layers = [] } = JSON.parse(readFileSync(blob(digest), "utf8")) as {
      manifests?: Descriptor[];
      config?: Descriptor;
      layers?: Descriptor[];
    };
    for (const manifest of manifests) placeManifest(manifest.digest, `${hex(manifest.digest)}.manifest.json`);
    for (const one of config === undefined ? layers : [config, ...layers]) place(one.digest, hex(one.digest));
  };
  placeManifest(layoutDescriptor(layout, tag).digest, "manifest.json");
}
