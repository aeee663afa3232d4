/** Archives of images: made by containers' own tools, and by hand where they would not make such a one. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseReference } from "../../lib/formats/reference.ts";
import { DockerArchiveSource } from "../../lib/oci/docker-archive.ts";
import { LayoutSource } from "../../lib/oci/layout.ts";
import { OciArchiveSource } from "../../lib/oci/oci-archive.ts";
import { layerBytes, resolveImage } from "../../lib/oci/pull.ts";
import type { ImageSource } from "../../lib/oci/source.ts";
import { decompress } from "../../lib/unpack/decompress.ts";
import { sha256 } from "./oci-layout.ts";
import { run } from "./run.ts";
import * as t from "./tar-writer.ts";

/** Debian packages that make archives. */
export const ARCHIVE_PACKAGES = ["podman", "skopeo", "tar", "xz-utils", "zstd"];

export const PLATFORM = { os: "linux", architecture: "amd64" };

/** Copies an image by skopeo, `TRANSPORT:PLACE` to `TRANSPORT:PLACE`. */
export async function skopeoCopy(from: string, to: string, ...options: string[]): Promise<void> {
  await run("skopeo", ["--insecure-policy", "copy", "--quiet", ...options, from, to]);
}

/** Runs podman with a store of its own, which holds an image of a layout under each name. */
export async function podmanWith(directory: string, images: Record<string, string>) {
  const at = (name: string) => join(directory, name);
  mkdirSync(at("run"));
  writeFileSync(
    at("storage.conf"),
    `[storage]\ndriver = "vfs"\nrunroot = "${at("run")}"\ngraphroot = "${at("graph")}"\n`,
  );
  const env = { CONTAINERS_STORAGE_CONF: at("storage.conf"), XDG_RUNTIME_DIR: at("run"), TMPDIR: directory };
  for (const [name, from] of Object.entries(images)) {
    await run("skopeo", ["--insecure-policy", "copy", "--quiet", from, `containers-storage:${name}`], { env });
  }
  return (...args: string[]): Promise<string> => run("podman", ["--log-level=error", ...args], { env });
}

export type ClosableSource = ImageSource & { close?(): Promise<void> };

export function archiveSource(reference: string): ClosableSource {
  const parsed = parseReference(reference);
  switch (parsed.kind) {
    case "layout":
      return new LayoutSource(parsed);
    case "oci-archive":
      return new OciArchiveSource(parsed, decompress);
    case "docker-archive":
      return new DockerArchiveSource(parsed, decompress);
    default:
      throw new Error(`${reference} is no archive`);
  }
}

export interface Held {
  digest: string;
  indexDigest?: string;
  /** Of each layer's bytes as they come, and as they are announced. */
  layers: string[];
  diffIds: string[];
  config: string;
}

/** All of an image, every byte proven. */
export async function held(reference: string): Promise<Held> {
  const source = archiveSource(reference);
  try {
    const image = await resolveImage(source, PLATFORM);
    const layers: string[] = [];
    for (const layer of image.manifest.layers) {
      let size = 0;
      for await (const chunk of layerBytes(image, layer)) size += chunk.length;
      layers.push(`${layer.digest} ${size}`);
    }
    return {
      digest: image.digest,
      ...(image.indexDigest !== undefined && { indexDigest: image.indexDigest }),
      layers,
      diffIds: image.config.rootfs.diff_ids,
      config: image.manifest.config.digest,
    };
  } finally {
    await source.close?.();
  }
}

/** Compresses a file by Debian's program; the new one's name. */
export async function compressed(path: string, program: "gzip" | "zstd" | "xz" | "bzip2"): Promise<string> {
  const to = `${path}.${program}`;
  await run("sh", ["-c", `exec ${program} -c < "$1" > "$2"`, "sh", path, to]);
  return to;
}

/** A layer, its archive and its digest. */
export function layerOf(name: string, content: string): { tar: Uint8Array; diffId: string } {
  const tar = t.tar([t.file(name, content)]);
  return { tar, diffId: sha256(tar) };
}

/** `manifest.json` and the configuration of an image with these layers, whose members are called as given. */
export function dockerParts(
  layers: readonly { diffId: string; name: string }[],
  { names = ["example.org/os:v1"], diffIds }: { names?: string[] | null; diffIds?: string[] } = {},
): { manifest: Record<string, unknown>; config: t.TarEntry; digest: string } {
  const config = JSON.stringify({
    ...PLATFORM,
    rootfs: { type: "layers", diff_ids: diffIds ?? layers.map(({ diffId }) => diffId) },
  });
  const digest = sha256(t.bytesOf(config)), name = `${digest.slice("sha256:".length)}.json`;
  const manifest = { Config: name, RepoTags: names, Layers: layers.map((layer) => layer.name) };
  return { manifest, config: t.file(name, config), digest };
}

/** Writes an archive and returns its name. */
export function writeArchive(
  directory: string,
  name: string,
  items: t.TarItem[],
  options: t.ArchiveOptions = {},
): string {
  const path = join(directory, name);
  writeFileSync(path, t.tar(items, options));
  return path;
}

/** Writes the first part of a file as another one. */
export function cutArchive(path: string, bytes: number): string {
  writeFileSync(`${path}.cut`, readFileSync(path).subarray(0, bytes));
  return `${path}.cut`;
}
