/** Manifests of artifacts that belong to an image, like signatures: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage". */
import * as z from "zod/mini";
import { type Descriptor, descriptor, FIELDS, MAX_LAYERS, refuseDescriptorTwins } from "./manifest.ts";
import { check, limit, parseJson, refuseTwins } from "./manifest-json.ts";

export interface Artifact {
  /** `artifactType`, else the configuration's media type, as older tools have it. */
  type?: string;
  /** The manifest that it belongs to; absent where only its tag says so. */
  subject?: Descriptor;
  layers: readonly Descriptor[];
}

const schema = z.object({
  schemaVersion: z.literal(2),
  artifactType: z.optional(z.string()),
  config: z.optional(descriptor),
  subject: z.optional(z.nullable(descriptor)),
  layers: z.array(descriptor),
});

/** @param name of the image that it is to belong to, for messages. Throws `UNSUPPORTED_IMAGE`. */
export function parseArtifact(bytes: Uint8Array, name: string): Artifact {
  const json = parseJson(bytes, name, "signature's manifest");
  refuseTwins(json, FIELDS, name, "signature's manifest");
  const { layers, config, subject } = (json ?? {}) as { layers?: unknown; config?: unknown; subject?: unknown };
  limit(layers, MAX_LAYERS, name, "signatures");
  refuseDescriptorTwins(layers, name);
  refuseDescriptorTwins([config, subject], name);
  const manifest = check(schema, json, name, "signature's manifest");
  return {
    type: manifest.artifactType ?? manifest.config?.mediaType,
    subject: manifest.subject ?? undefined,
    layers: manifest.layers,
  };
}
