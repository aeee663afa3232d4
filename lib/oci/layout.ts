/** An OCI image layout in a directory: image-spec 1.1, image-layout.md. */
import { CosError } from "../base/errors.ts";
import { type Digest, digestAlgorithm, digestHex } from "../base/digest.ts";
import { type Descriptor, type ImageIndex, MAX_MANIFEST, parseManifest } from "../formats/manifest.ts";
import { formatReference, type LayoutReference } from "../formats/reference.ts";
import { readWhole } from "../system/whole-file.ts";
import { chooseImage, findTagged } from "./layout-index.ts";
import { type FetchedManifest, type ImageSource, MAX_REFERRERS } from "./source.ts";

/** One read of a blob's file, in bytes. */
const PIECE = 256 * 1024;

export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #path: string;
  readonly #tag: string | undefined;

  constructor(reference: LayoutReference) {
    this.name = formatReference(reference);
    this.#path = reference.path;
    this.#tag = reference.tag;
  }

  async top(): Promise<FetchedManifest & { expected: Digest }> {
    const index = this.#index(await this.#read("index.json", MAX_MANIFEST));
    const [path, tag] = [this.#path, this.#tag];
    const descriptor = chooseImage(index, {
      name: this.name,
      what: "layout",
      tag,
      form: (one) => `oci:${path}:${one}`,
    });
    return { ...await this.manifest(descriptor), expected: descriptor.digest };
  }

  async manifest(descriptor: Descriptor): Promise<FetchedManifest> {
    if (descriptor.size > MAX_MANIFEST) throw this.#unusable(`its manifest is longer than ${MAX_MANIFEST} bytes`);
    const bytes = await this.#read(blobPath(descriptor.digest), MAX_MANIFEST);
    return { bytes, mediaType: descriptor.mediaType };
  }

  async *blob(descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    using file = await this.#open(blobPath(descriptor.digest));
    for (;;) {
      signal?.throwIfAborted();
      // A buffer of its own each time: the decoder may still hold the last one.
      const buffer = new Uint8Array(PIECE), count = await file.read(buffer);
      if (count === null) return;
      yield count === PIECE ? buffer : buffer.subarray(0, count);
    }
  }

  async tagged(tag: string): Promise<FetchedManifest | undefined> {
    const found = findTagged(this.#index(await this.#read("index.json", MAX_MANIFEST)), tag);
    return found === undefined ? undefined : await this.manifest(found);
  }

  /** A layout keeps no list of its own: all that lies in it may belong to an image in it. */
  async referrers(): Promise<readonly Descriptor[]> {
    return this.#index(await this.#read("index.json", MAX_MANIFEST)).manifests.slice(0, MAX_REFERRERS);
  }

  #index(bytes: Uint8Array): ImageIndex {
    const parsed = parseManifest(bytes, undefined, this.name);
    if (parsed.kind !== "index") throw this.#unusable("its index.json is no index");
    return parsed.index;
  }

  async #open(name: string): Promise<Deno.FsFile> {
    try {
      return await Deno.open(`${this.#path}/${name}`);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) throw cause;
      throw new CosError("IMAGE_NOT_FOUND", `Cannot read ${this.name}: ${this.#path}/${name} does not exist.`, {
        hint: "Check the path: it must be a directory with index.json and blobs/, complete.",
        cause,
      });
    }
  }

  async #read(name: string, most: number): Promise<Uint8Array> {
    using file = await this.#open(name);
    const { size } = await file.stat();
    if (size > most) throw this.#unusable(`${name} is longer than ${most} bytes`);
    return readWhole(file, size);
  }

  #unusable(why: string): CosError {
    return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${this.name}: ${why}.`, {
      hint: "Make the layout again, for instance with skopeo copy.",
    });
  }
}

export function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
