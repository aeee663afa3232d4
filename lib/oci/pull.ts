/** From a source to an image of which every byte is proven by digest: the manifest at once, the layers while they are read. */
import { CosError } from "../base/errors.ts";
import type { Digest } from "../base/digest.ts";
import {
  type Descriptor,
  type ImageConfig,
  type Manifest,
  MAX_MANIFEST,
  parseConfig,
  type ParsedManifest,
  parseManifest,
  type Platform,
} from "../formats/manifest.ts";
import { choosePlatform, fit, formatPlatform, type MachinePlatform } from "../formats/platform.ts";
import type { Subject } from "../trust/mod.ts";
import type { FetchedManifest, ImageSource } from "./source.ts";
import { digestOf, mismatch, verified, verifiedBytes, verifyBytes } from "./verified.ts";

declare const resolvedBrand: unique symbol;

/**
 * An image whose manifest and configuration are those that the digest names. Whether that digest is one to trust is for
 * `lib/trust` to say.
 */
export interface ResolvedImage {
  readonly [resolvedBrand]: true;
  readonly source: ImageSource;
  /** The manifest of the one platform. */
  readonly digest: Digest;
  /** The index that led to it, where there was one. */
  readonly indexDigest?: Digest;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** What may carry the signature, from the manifest upwards: it and the indexes that led to it. Each names the one before. */
  readonly subjects: readonly Subject[];
}

/** Indexes may nest, but nobody does it deeper. */
const MAX_NESTING = 3;
/** So many are named in the message about an index that has nothing for this machine. */
const SHOWN_PLATFORMS = 12;

/**
 * Resolves the reference once: whatever a tag points to later, this digest is meant.
 * Throws `IMAGE_NOT_FOUND`, `UNSUPPORTED_IMAGE`, `DIGEST_MISMATCH`, `UNAUTHORIZED`, `REGISTRY_*`.
 */
export async function resolveImage(
  source: ImageSource,
  platform: MachinePlatform,
  signal?: AbortSignal,
): Promise<ResolvedImage> {
  const top = await source.top(signal);
  let digest = await digestOf(top.bytes, top.expected);
  if (top.expected !== undefined && digest !== top.expected) {
    throw mismatch(`the manifest of ${source.name}`, top.expected, digest);
  }
  let parsed: ParsedManifest = parseManifest(top.bytes, top.mediaType, source.name);
  let indexDigest: Digest | undefined;
  const subjects: Subject[] = [subjectOf(digest, top)];
  for (let depth = 0; parsed.kind === "index"; depth++) {
    if (depth === MAX_NESTING) throw unsupported(source, `its indexes are nested deeper than ${MAX_NESTING}`);
    indexDigest ??= digest;
    const { manifests } = parsed.index;
    const chosen = choosePlatform(manifests, platform);
    if (chosen === undefined) {
      const platforms = manifests.map((m) => m.platform ?? {}), offered = [...new Set(platforms.map(formatPlatform))];
      const shown = offered.length > SHOWN_PLATFORMS ? [...offered.slice(0, SHOWN_PLATFORMS), "…"] : offered;
      const only = shown.join(", ") || "nothing";
      throw unsupported(source, `it is not made for ${thisMachine(platform, platforms)}, only for ${only}`);
    }
    if (chosen.size > MAX_MANIFEST) throw unsupported(source, `its manifest is longer than ${MAX_MANIFEST} bytes`);
    const fetched = await source.manifest(chosen, signal);
    await verifyBytes(fetched.bytes, chosen.digest, `the manifest of ${source.name}`);
    digest = chosen.digest;
    subjects.unshift(subjectOf(digest, { ...fetched, mediaType: chosen.mediaType ?? fetched.mediaType }));
    parsed = parseManifest(fetched.bytes, chosen.mediaType ?? fetched.mediaType, source.name);
  }
  const { manifest } = parsed;
  if (manifest.config.size > MAX_MANIFEST) {
    throw unsupported(source, `its configuration is longer than ${MAX_MANIFEST} bytes`);
  }
  const what = `the configuration of ${source.name}`;
  const bytes = await verifiedBytes(source.blob(manifest.config, signal), manifest.config, what);
  const config = parseConfig(bytes, manifest, source.name);
  if (fit(config, platform) === 0) {
    throw unsupported(
      source,
      `it is made for ${formatPlatform(config)}, and this machine is ${thisMachine(platform, [config])}`,
    );
  }
  const image: Omit<ResolvedImage, typeof resolvedBrand> = { source, digest, manifest, config, indexDigest, subjects };
  return image as ResolvedImage;
}

function subjectOf(digest: Digest, { bytes, mediaType }: FetchedManifest): Subject {
  // A copy with memory of its own: what a source hands out may be a view of a larger buffer.
  return { digest, bytes: new Uint8Array(bytes), mediaType };
}

/** A layer's compressed bytes; throws `DIGEST_MISMATCH` at the latest behind the last one. */
export async function* layerBytes(
  { source }: ResolvedImage,
  layer: Descriptor,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    yield* verified(source.blob(layer, signal), layer, `layer ${layer.digest} of ${source.name}`);
  } catch (thrown) {
    const sender = source.sentBy?.(layer.digest);
    if (sender === undefined || !(thrown instanceof CosError) || thrown.code !== "DIGEST_MISMATCH") throw thrown;
    const { code, message, hint, details } = thrown;
    throw new CosError(code, `${message} It came from ${sender}.`, { hint, details, cause: thrown });
  }
}

/** With the processor's level, where it is what the image asks too much of. */
function thisMachine({ level, ...platform }: MachinePlatform, offered: readonly Partial<Platform>[]): string {
  const matters = level !== undefined && offered.some(({ architecture }) => architecture === platform.architecture);
  return formatPlatform(matters ? { ...platform, variant: `v${level()}` } : platform);
}

function unsupported(source: ImageSource, why: string): CosError {
  return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${source.name}: ${why}.`, {
    hint: "Name an image of an operating system, built for this machine's architecture.",
  });
}
