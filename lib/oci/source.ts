/** Where an image's bytes come from. A source only fetches; `pull.ts` proves what it fetched. */
import type { Digest } from "../base/digest.ts";
import type { Descriptor } from "../formats/manifest.ts";

export interface FetchedManifest {
  bytes: Uint8Array;
  /** As the registry or the descriptor told it. */
  mediaType?: string;
}

/** An image has one signature a signing, and some statements about it; a list that is longer is cut off. */
export const MAX_REFERRERS = 1024;

export interface ImageSource {
  /** As people name it, for messages. */
  readonly name: string;
  /** The manifest that the reference names, unproven. Throws `IMAGE_NOT_FOUND`, `UNAUTHORIZED`, `REGISTRY_*`. */
  top(signal?: AbortSignal): Promise<FetchedManifest & { expected?: Digest }>;
  /** A manifest by its digest, unproven. */
  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<FetchedManifest>;
  /** A blob's bytes, unproven; never more than a little over `descriptor.size` are read. */
  blob(descriptor: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** What another tag of the same repository names, unproven; undefined where there is no such tag. */
  tagged(tag: string, signal?: AbortSignal): Promise<FetchedManifest | undefined>;
  /** What is listed as belonging to a manifest, unproven; undefined where no such list is kept. At most `MAX_REFERRERS`. */
  referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[] | undefined>;
  /** Whom a blob's bytes came from, where people could not tell: one of several mirrors. */
  sentBy?(digest: Digest): string | undefined;
}
