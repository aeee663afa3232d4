/** Fetching the signatures of an image. What they are worth is for `lib/trust` to say; here their bytes are proven by digest. */
import type { Bytes } from "../base/bytes.ts";
import { CosError } from "../base/errors.ts";
import { type Digest, digestHex } from "../base/digest.ts";
import { type Artifact, parseArtifact } from "../formats/artifact.ts";
import { type Descriptor, MAX_MANIFEST, MEDIA_TYPES, parseManifest } from "../formats/manifest.ts";
import type { Found, SignatureLayer } from "../trust/mod.ts";
import type { ResolvedImage } from "./pull.ts";
import type { FetchedManifest, ImageSource } from "./source.ts";
import { verifiedBytes, verifyBytes } from "./verified.ts";

export interface SignatureKind {
  /** By the artifact's type; undefined for what lies at the tag `sha256-….sig`. */
  artifact?: RegExp;
  layer: RegExp;
  /** Bytes of one layer that are read. */
  most: number;
}

/** So many are opened: each signing adds one, and whoever may push can add any number. */
const MAX_SIGNATURES = 100;
/** Bytes of all of them together. */
const MAX_TOTAL = 32 * 1024 * 1024;

/** At the tag that cosign 1 and 2, skopeo and podman derive from the digest (cosign, specs/SIGNATURE_SPEC.md). */
export async function attachedSignatures(
  { source }: ResolvedImage,
  digest: Digest,
  kind: SignatureKind,
  signal?: AbortSignal,
): Promise<Found> {
  const found = collector(source, kind, signal),
    manifest = await source.tagged(`sha256-${digestHex(digest)}.sig`, signal);
  if (manifest !== undefined) await found.add(() => parseArtifact(manifest.bytes, source.name));
  return found.result;
}

/**
 * What refers to the digest: by the registry's list, else by the index at the tag that takes its place (OCI distribution-spec
 * 1.1, "Referrers Tag Schema").
 */
export async function referringSignatures(
  { source }: ResolvedImage,
  digest: Digest,
  kind: SignatureKind & { artifact: RegExp },
  signal?: AbortSignal,
): Promise<Found> {
  const found = collector(source, kind, signal);
  const listed = await source.referrers(digest, signal) ?? [];
  const tagged = await source.tagged(`sha256-${digestHex(digest)}`, signal), all = new Map<Digest, Descriptor>();
  for (const one of [...listed, ...entriesOf(tagged, source.name, found.result.faults)]) all.set(one.digest, one);
  for (const descriptor of all.values()) {
    // Lists may leave the type out, and give the configuration's in its place: only the artifact itself says.
    const { artifactType, mediaType } = descriptor;
    if (mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerList) continue;
    if (artifactType !== undefined && !kind.artifact.test(artifactType)) continue;
    await found.add(async () => {
      const artifact = parseArtifact(await fetched(source, descriptor, signal), source.name);
      // Another image's, or no signature at all.
      if (artifact.subject?.digest !== digest || !kind.artifact.test(artifact.type ?? "")) return undefined;
      return artifact;
    });
  }
  return found.result;
}

function entriesOf(tagged: FetchedManifest | undefined, name: string, faults: string[]): readonly Descriptor[] {
  if (tagged === undefined) return [];
  try {
    const parsed = parseManifest(tagged.bytes, tagged.mediaType, name);
    return parsed.kind === "index" ? parsed.index.manifests : [];
  } catch (thrown) {
    faults.push(faultOf(thrown));
    return [];
  }
}

function collector(source: ImageSource, kind: SignatureKind, signal?: AbortSignal) {
  const result: { layers: SignatureLayer[]; faults: string[] } = { layers: [], faults: [] };
  let total = 0, opened = 0;
  const take = async (layer: Descriptor) => {
    if (layer.size > kind.most) throw tooMuch(source.name, `a signature has more than ${kind.most} bytes`);
    if ((total += layer.size) > MAX_TOTAL) {
      throw tooMuch(source.name, `its signatures have more than ${MAX_TOTAL} bytes`);
    }
    const what = `a signature of ${source.name}`;
    const bytes = await verifiedBytes(source.blob(layer, signal), layer, what) as Bytes;
    result.layers.push({ mediaType: layer.mediaType, annotations: layer.annotations ?? {}, bytes });
  };
  return {
    result,
    /** @param open undefined: it is none of this kind. */
    add: async (open: () => Artifact | undefined | Promise<Artifact | undefined>) => {
      try {
        if (opened++ >= MAX_SIGNATURES) {
          throw tooMuch(source.name, `only its first ${MAX_SIGNATURES} signatures are read`);
        }
        const layers = (await open())?.layers.filter(({ mediaType = "" }) => kind.layer.test(mediaType)) ?? [];
        for (const layer of layers.slice(0, MAX_SIGNATURES)) await take(layer);
      } catch (thrown) {
        signal?.throwIfAborted();
        result.faults.push(faultOf(thrown));
      }
    },
  };
}

async function fetched(source: ImageSource, descriptor: Descriptor, signal?: AbortSignal): Promise<Uint8Array> {
  if (descriptor.size > MAX_MANIFEST) {
    throw tooMuch(source.name, `a manifest beside it has more than ${MAX_MANIFEST} bytes`);
  }
  const { bytes } = await source.manifest(descriptor, signal);
  await verifyBytes(bytes, descriptor.digest, `what belongs to ${source.name}`);
  return bytes;
}

/** Only what is wrong with one signature; a registry that does not answer says nothing about any. */
function faultOf(thrown: unknown): string {
  const codes = ["UNSUPPORTED_IMAGE", "DIGEST_MISMATCH", "IMAGE_NOT_FOUND", "BROKEN_ARCHIVE"];
  if (!(thrown instanceof CosError)) throw thrown;
  // A part of one signature that is gone is no reason to look at no other.
  const gone = thrown.code === "REGISTRY_ERROR" && thrown.details.status === 404;
  if (!gone && !codes.includes(thrown.code)) throw thrown;
  return thrown.message.replace(/\.$/, "");
}

function tooMuch(name: string, why: string): CosError {
  return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${name}: ${why}.`, {
    hint: "Take old signatures away at the registry.",
  });
}
