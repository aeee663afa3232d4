/** An image in docker's own form of archive: `docker save`, `podman save`, `skopeo copy … docker-archive:`. */
import type { Digest } from "../base/digest.ts";
import { compressionOf, isReadable } from "../formats/archive-kind.ts";
import {
  chooseDockerImage,
  diffIdsOf,
  digestInName,
  dockerManifest,
  parseDockerManifest,
} from "../formats/docker-archive.ts";
import { type Descriptor, MAX_MANIFEST, MEDIA_TYPES } from "../formats/manifest.ts";
import { type ArchiveReference, formatReference } from "../formats/reference.ts";
import { brokenArchive, type Member, TarArchive } from "./archive.ts";
import type { Decompress } from "./archive-stream.ts";
import type { FetchedManifest, ImageSource } from "./source.ts";
import { digestOf, verifyBytes } from "./verified.ts";

interface Layer {
  name: string;
  member: Member;
  /** It is compressed in the archive, though its digest is of the plain bytes. */
  compressed: boolean;
}

export class DockerArchiveSource implements ImageSource {
  readonly name: string;
  readonly #reference: ArchiveReference;
  readonly #decompress: Decompress;
  #archive: TarArchive | undefined;
  /** By digest: the configuration, and the layers. */
  readonly #configs = new Map<Digest, Uint8Array>();
  readonly #layers = new Map<Digest, Layer>();

  constructor(reference: ArchiveReference, decompress: Decompress) {
    this.name = formatReference(reference);
    this.#reference = reference;
    this.#decompress = decompress;
  }

  async top(signal?: AbortSignal): Promise<FetchedManifest> {
    const { path } = this.#reference;
    const archive = this.#archive ??= await TarArchive.open(this.name, path, this.#decompress, signal);
    const manifest = archive.find("manifest.json");
    if (manifest === undefined) {
      const why = archive.has("repositories") ? "it is older than docker 1.10" : "it has no manifest.json";
      const hint = archive.has("index.json") ? `It may be an OCI layout: oci-archive:${path}` : undefined;
      throw brokenArchive(this.name, `${why}, so it is no archive of docker's`, hint);
    }
    const images = parseDockerManifest(await archive.read("manifest.json", manifest, MAX_MANIFEST, signal), this.name);
    const { config: configName, layers } = chooseDockerImage(images, this.#reference, this.name);
    const config = await archive.read(configName, this.#member(configName), MAX_MANIFEST, signal);
    const named = digestInName(configName);
    if (named !== undefined) await verifyBytes(config, named, `the configuration of ${this.name}`);
    const digest = named ?? await digestOf(config);
    this.#configs.set(digest, config);
    const diffIds = diffIdsOf(config, layers.length, this.name);
    const descriptors = [];
    for (const [i, diffId] of diffIds.entries()) {
      const name = layers[i] ?? "", member = this.#member(name), kind = compressionOf(member.start);
      if (!isReadable(kind)) {
        throw brokenArchive(this.name, `${name} in it is compressed with ${kind}, which is not read here`);
      }
      const layer = { name, member, compressed: kind !== "none" };
      this.#layers.set(diffId, layer);
      descriptors.push({ digest: diffId, size: await this.#plainSize(layer, signal) });
    }
    return {
      bytes: dockerManifest({ digest, size: config.length }, descriptors),
      mediaType: MEDIA_TYPES.dockerManifest,
    };
  }

  manifest(): Promise<FetchedManifest> {
    throw new Error("such an archive has no indexes, so no manifest is asked for by digest");
  }

  /** This form has no place for signatures. */
  tagged(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  referrers(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async *blob({ digest }: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const config = this.#configs.get(digest), layer = this.#layers.get(digest);
    if (config !== undefined) yield config;
    else if (layer !== undefined) yield* this.#plain(layer, signal);
    else throw brokenArchive(this.name, `${digest} is not in it`);
  }

  /** A compressed archive that is not read any more is closed. */
  async close(): Promise<void> {
    await this.#archive?.close();
  }

  #member(name: string): Member {
    const member = this.#archive?.find(name);
    if (member === undefined) throw brokenArchive(this.name, `${name} is not in it`);
    return member;
  }

  async *#plain({ name, member, compressed }: Layer, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const bytes = this.#archive?.bytes(name, member, signal);
    if (bytes === undefined) throw new Error("a blob is asked for before the manifest");
    yield* compressed ? this.#decompress(bytes) : bytes;
  }

  /** The manifest needs each layer's plain size; of one that is compressed it is known only behind its end. */
  async #plainSize(layer: Layer, signal?: AbortSignal): Promise<number> {
    if (!layer.compressed) return layer.member.size;
    let size = 0;
    for await (const piece of this.#plain(layer, signal)) size += piece.length;
    return size;
  }
}
