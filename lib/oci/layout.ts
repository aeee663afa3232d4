/** An OCI image layout in a directory: image-spec 1.1, image-layout.md. */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { type Digest, digestAlgorithm, digestHex } from "../base/digest.ts";
import { type Descriptor, type ImageIndex, MAX_MANIFEST, parseManifest } from "../formats/manifest.ts";
import { formatReference, type LayoutReference } from "../formats/reference.ts";
import type { FetchedManifest, ImageSource } from "./source.ts";

const REF_NAME = "org.opencontainers.image.ref.name";
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
    const descriptor = this.#choose(this.#index(await this.#read("index.json", MAX_MANIFEST)));
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

  #index(bytes: Uint8Array): ImageIndex {
    const parsed = parseManifest(bytes, undefined, this.name);
    if (parsed.kind !== "index") throw this.#unusable("its index.json is no index");
    return parsed.index;
  }

  #choose({ manifests }: ImageIndex): Descriptor {
    const wanted = this.#tag;
    const found = wanted === undefined ? manifests : manifests.filter((m) => m.annotations?.[REF_NAME] === wanted);
    const [first] = found;
    if (found.length === 1 && first !== undefined) return first;
    const tags = manifests.flatMap((m) => m.annotations?.[REF_NAME] ?? []).map((tag) => displayText(tag));
    const untagged = "Its images have no tags: make the layout again with one image, or with tags.";
    if (found.length === 0) {
      const none = manifests.length === 0 ? "The layout is empty." : untagged;
      throw new CosError("IMAGE_NOT_FOUND", `Cannot find ${this.name}: the layout has no such image.`, {
        hint: tags.length === 0 ? none : `It has: ${tags.join(", ")}.`,
      });
    }
    const several = wanted === undefined
      ? `Name one by its tag: ${tags.map((tag) => `oci:${this.#path}:${tag}`).join(", ")}.`
      : "Several of its images have this tag: make the layout again.";
    throw new CosError("IMAGE_NOT_FOUND", `Cannot choose among the ${found.length} images of ${this.name}.`, {
      hint: tags.length === 0 ? untagged : several,
    });
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
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size;) {
      const count = await file.read(bytes.subarray(at));
      if (count === null) return bytes.subarray(0, at);
      at += count;
    }
    return bytes;
  }

  #unusable(why: string): CosError {
    return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${this.name}: ${why}.`, {
      hint: "Make the layout again, for instance with skopeo copy.",
    });
  }
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
