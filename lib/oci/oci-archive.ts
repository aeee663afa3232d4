/** An OCI image layout in a tar archive, as `skopeo copy … oci-archive:` and `podman save --format oci-archive` make it. */
import { type Descriptor, type ImageIndex, MAX_MANIFEST, parseManifest } from "../formats/manifest.ts";
import { type ArchiveReference, formatReference } from "../formats/reference.ts";
import { brokenArchive, type Member, TarArchive } from "./archive.ts";
import type { Decompress } from "./archive-stream.ts";
import { blobPath } from "./layout.ts";
import { chooseImage, findTagged } from "./layout-index.ts";
import { type FetchedManifest, type ImageSource, MAX_REFERRERS } from "./source.ts";
import type { Digest } from "../base/digest.ts";

export class OciArchiveSource implements ImageSource {
  readonly name: string;
  readonly #reference: ArchiveReference;
  readonly #decompress: Decompress;
  #archive: Promise<TarArchive> | undefined;

  constructor(reference: ArchiveReference, decompress: Decompress) {
    this.name = formatReference(reference);
    this.#reference = reference;
    this.#decompress = decompress;
  }

  async top(signal?: AbortSignal): Promise<FetchedManifest & { expected: Digest }> {
    const { path, name: tag, index: position } = this.#reference, index = await this.#index(signal);
    const form = (one: string) => `oci-archive:${path}:${one}`;
    const descriptor = chooseImage(index, { name: this.name, what: "archive", tag, position, form });
    return { ...await this.manifest(descriptor, signal), expected: descriptor.digest };
  }

  async tagged(tag: string, signal?: AbortSignal): Promise<FetchedManifest | undefined> {
    const found = findTagged(await this.#index(signal), tag);
    return found === undefined ? undefined : await this.manifest(found, signal);
  }

  /** Like a layout's. */
  async referrers(_digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[]> {
    return (await this.#index(signal)).manifests.slice(0, MAX_REFERRERS);
  }

  async #index(signal?: AbortSignal): Promise<ImageIndex> {
    const archive = await this.#open(signal), { path } = this.#reference;
    const member = archive.find("index.json");
    if (member === undefined) {
      const docker = archive.has("manifest.json") ? `It may be docker's form: docker-archive:${path}` : undefined;
      throw brokenArchive(this.name, "it has no index.json, so it is no OCI layout", docker);
    }
    const parsed = parseManifest(await archive.read("index.json", member, MAX_MANIFEST, signal), undefined, this.name);
    if (parsed.kind !== "index") throw brokenArchive(this.name, "its index.json is no index");
    return parsed.index;
  }

  async manifest({ digest, mediaType }: Descriptor, signal?: AbortSignal): Promise<FetchedManifest> {
    const archive = await this.#open(signal), path = blobPath(digest);
    return { bytes: await archive.read(path, this.#member(archive, path), MAX_MANIFEST, signal), mediaType };
  }

  async *blob({ digest }: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const archive = await this.#open(signal), path = blobPath(digest);
    yield* archive.bytes(path, this.#member(archive, path), signal);
  }

  /** A compressed archive that is not read any more is closed. */
  async close(): Promise<void> {
    await (await this.#archive)?.close();
  }

  #open(signal?: AbortSignal): Promise<TarArchive> {
    return this.#archive ??= TarArchive.open(this.name, this.#reference.path, this.#decompress, signal);
  }

  #member(archive: TarArchive, path: string): Member {
    const member = archive.find(path);
    if (member === undefined) throw brokenArchive(this.name, `${path} is not in it`);
    return member;
  }
}
