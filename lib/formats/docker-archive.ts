/**
 * `manifest.json` of docker's archives (`docker save`; moby's `image/tarexport`, and docker/archive of containers/image), and the
 * manifest that its image would have in a registry.
 */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { type Digest, isDigest } from "../base/digest.ts";
import { MAX_LAYERS, MEDIA_TYPES } from "./manifest.ts";
import { archiveName } from "./reference.ts";

export interface DockerImage {
  /** The configuration's name in the archive. */
  config: string;
  /** Full names: `docker.io/library/os:v1`. */
  names: readonly string[];
  /** The layers' names in the archive, the lowest first. */
  layers: readonly string[];
}

const imageSchema = z.looseObject({
  Config: z.string(),
  RepoTags: z.optional(z.nullable(z.array(z.string()))),
  Layers: z.nullable(z.array(z.string())),
});
const fileSchema = z.array(imageSchema);

/** So many images may one archive hold. */
const MAX_IMAGES = 1024;

/** Throws `UNSUPPORTED_IMAGE`. */
export function parseDockerManifest(bytes: Uint8Array, subject: string): DockerImage[] {
  const json = parseJson(bytes, "manifest.json", subject);
  if (Array.isArray(json) && json.length > MAX_IMAGES) {
    throw unsupported(subject, `it has ${json.length} images; at most ${MAX_IMAGES} are read`);
  }
  const result = fileSchema.safeParse(json);
  if (!result.success) {
    const place = result.error.issues[0]?.path.map(String).join(".") ?? "";
    throw unsupported(subject, `its manifest.json is malformed${place === "" ? "" : ` at ${displayText(place)}`}`);
  }
  return result.data.map(({ Config, RepoTags, Layers }) => ({
    config: Config,
    // A name that is none cannot be asked for, and is no reason to refuse the others.
    names: (RepoTags ?? []).map(archiveName).filter((name) => name !== undefined),
    layers: Layers ?? [],
  }));
}

/** Throws `IMAGE_NOT_FOUND` where there is no such image, or more than one. */
export function chooseDockerImage(
  images: readonly DockerImage[],
  wanted: { name?: string; index?: number },
  subject: string,
): DockerImage {
  const { name, index } = wanted;
  const found = index !== undefined
    ? images.slice(index, index + 1)
    : images.filter(({ names }) => name === undefined || names.includes(name));
  // The same image under one name in two entries is what some tools write.
  const [first] = found;
  if (first !== undefined && (found.length === 1 || found.every(({ config }) => config === first.config))) return first;
  const names = images.flatMap((image) => image.names);
  const have = names.length === 0
    ? `Its images have no names: choose by place, @0 to @${images.length - 1}.`
    : `It has: ${names.map((one) => displayText(one)).join(", ")}.`;
  const message = first === undefined
    ? `Cannot find ${subject}: the archive has no such image.`
    : `Cannot choose among the ${found.length} images of ${subject}.`;
  throw new CosError("IMAGE_NOT_FOUND", message, { hint: images.length === 0 ? "The archive is empty." : have });
}

const configSchema = z.looseObject({ rootfs: z.looseObject({ diff_ids: z.nullable(z.array(z.string())) }) });

/** The digests of the layers' archives, from the configuration. Throws `UNSUPPORTED_IMAGE`. */
export function diffIdsOf(config: Uint8Array, layers: number, subject: string): Digest[] {
  const result = configSchema.safeParse(parseJson(config, "configuration", subject));
  const diffIds = result.success ? result.data.rootfs.diff_ids ?? [] : [];
  if (!result.success || !diffIds.every(isDigest)) {
    throw unsupported(subject, "its configuration is malformed at rootfs.diff_ids");
  }
  if (diffIds.length !== layers) {
    throw unsupported(subject, `its manifest.json names ${layers} layers and its configuration ${diffIds.length}`);
  }
  if (layers > MAX_LAYERS) throw unsupported(subject, `it has ${layers} layers; at most ${MAX_LAYERS} are read`);
  return diffIds as Digest[];
}

/** The configuration's digest, where its name in the archive tells it: `HEX.json`, `blobs/sha256/HEX`, `sha256:HEX`. */
export function digestInName(name: string): Digest | undefined {
  const hex = /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  return hex === undefined ? undefined : `sha256:${hex}` as Digest;
}

/**
 * The manifest that containers' tools make of such an image, byte for byte, so that its digest is the one they show
 * (`skopeo inspect`): each layer is named by its diffID and has its plain size, though its type says gzip.
 */
export function dockerManifest(
  config: { digest: Digest; size: number },
  layers: readonly { digest: Digest; size: number }[],
): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.dockerManifest,
    config: { mediaType: "application/vnd.docker.container.image.v1+json", size: config.size, digest: config.digest },
    layers: layers.map(({ digest, size }) => ({
      mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      size,
      digest,
    })),
  }));
}

function parseJson(bytes: Uint8Array, what: string, subject: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unsupported(subject, `its ${what} is no JSON`, cause);
  }
}

function unsupported(subject: string, why: string, cause?: unknown): CosError {
  return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${subject}: ${why}.`, {
    hint: "Make the archive again, for instance with docker save, podman save or skopeo copy.",
    cause,
  });
}
