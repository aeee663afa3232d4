/** From what the operator named to something that can be installed. */
import { CosError } from "../base/errors.ts";
import { type Digest, shortDigest } from "../base/digest.ts";
import { formatReference, type ImageReference } from "../formats/reference.ts";
import { platformOf } from "../formats/platform.ts";
import type { CredentialLookup } from "../oci/auth.ts";
import { LayoutSource } from "../oci/layout.ts";
import { resolveImage } from "../oci/pull.ts";
import { RegistrySource } from "../oci/registry.ts";
import type { System } from "../system/system.ts";
import type { Source } from "./install-image.ts";
import type { Waiver } from "./record-keeping.ts";

export interface SourceSettings {
  image: ImageReference;
  credentials: CredentialLookup;
  plainHttp: boolean;
  userAgent: string;
  /** Absent: the image must be proven, or it is refused. */
  waiver?: Waiver;
}

export async function resolveSource(system: System, settings: SourceSettings, signal: AbortSignal): Promise<Source> {
  const { image: reference } = settings, name = formatReference(reference);
  if (reference.kind === "directory") return { kind: "directory", reference, name };
  const source = reference.kind === "layout"
    ? new LayoutSource(reference)
    : new RegistrySource(reference, system, settings);
  return { kind: "image", image: await resolveImage(source, platformOf(Deno.build.arch), signal), name };
}

export function sourceDigest(source: Source): Digest | undefined {
  return source.kind === "image" ? source.image.digest : undefined;
}

/** The design's rule where no policy says otherwise: refused, unless the operator's own words waive the proof. */
export function requireWaiver(source: Source, waiver: Waiver | undefined): Waiver {
  if (waiver !== undefined) return waiver;
  const digest = sourceDigest(source);
  const what = digest === undefined ? source.name : `${source.name} (${shortDigest(digest)})`;
  throw new CosError("UNVERIFIED", `Refused ${what}: nothing proves who made it.`, {
    hint:
      "This version of cos checks digests, and no signatures yet. To install it all the same, say --no-verify; that is recorded.",
  });
}
