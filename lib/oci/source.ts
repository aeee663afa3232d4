/** Where an image's bytes come from. A source only fetches; `pull.ts` proves what it fetched. */
import type { Digest } from "../base/digest.ts";
import type { Descriptor } from "../formats/manifest.ts";

export interface FetchedManifest {
  bytes: Uint8Array;
  /** As the registry or the descriptor told it. */
  mediaType?: string;
}

export interface ImageSource {
  /** As people name it, for messages. */
  readonly name: string;
  /** The manifest that the reference names, unproven. Throws `IMAGE_NOT_FOUND`, `UNAUTHORIZED`, `REGISTRY_*`. */
  top(signal?: AbortSignal): Promise<FetchedManifest & { expected?: Digest }>;
  /** A manifest by its digest, unproven. */
  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<FetchedManifest>;
  /** A blob's bytes, unproven; never more than a little over `descriptor.size` are read. */
  blob(descriptor: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Whom a blob's bytes came from, where people could not tell: one of several mirrors. */
  sentBy?(digest: Digest): string | undefined;
}
