/** Putting signatures beside an image in a real registry, or in a layout, as cosign's two generations do. */
import { sha256 } from "../oci-layout.ts";
import { type AttachmentRequest, makeAttachment, simpleSigning } from "./attachments.ts";
import { type BundleRequest, makeBundle, MEDIA_TYPES } from "./bundles.ts";
import { jsonBytes, type SigningKey } from "./keys.ts";

const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json",
  OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const EMPTY = new TextEncoder().encode("{}");

export interface Published {
  mediaType: string;
  bytes: Uint8Array;
  annotations?: Record<string, string>;
}

const SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json";

/** One signature of cosign 1 and 2. @param more of the request to `makeAttachment`. */
export async function attachment(
  key: SigningKey,
  digest: string,
  reference: string,
  more: Partial<AttachmentRequest> = {},
): Promise<Published> {
  const { bytes, annotations } = await makeAttachment({ payload: simpleSigning(digest, reference), key, ...more });
  return { mediaType: SIMPLE, bytes, annotations };
}

/** One bundle of cosign 3. */
export async function bundle(request: BundleRequest): Promise<Published> {
  const bytes = jsonBytes(await makeBundle(request));
  return { mediaType: MEDIA_TYPES[request.version], bytes };
}

export interface Place {
  blob(bytes: Uint8Array): Promise<void>;
  /** @param name a tag or a digest. */
  manifest(name: string, bytes: Uint8Array, mediaType: string): Promise<void>;
}

/** @param host `127.0.0.1:PORT`, without TLS. */
export function registryPlace(host: string, repository: string): Place {
  const base = `http://${host}/v2/${repository}`;
  const must = async (response: Response, status: number) => {
    const text = await response.text();
    if (response.status !== status) throw new Error(`${response.url} answers ${response.status}: ${text}`);
    return response.headers;
  };
  return {
    blob: async (bytes) => {
      const headers = await must(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202);
      const url = new URL(headers.get("location") ?? "", base);
      url.searchParams.set("digest", sha256(bytes));
      const body = new Uint8Array(bytes);
      await must(
        await fetch(url, { method: "PUT", body, headers: { "content-type": "application/octet-stream" } }),
        201,
      );
    },
    manifest: async (name, bytes, mediaType) => {
      const body = new Uint8Array(bytes);
      await must(
        await fetch(`${base}/manifests/${name}`, { method: "PUT", body, headers: { "content-type": mediaType } }),
        201,
      );
    },
  };
}

/** In a layout a manifest has its place in the index, by its tag if it has one. */
export function layoutPlace(directory: string): Place {
  const write = (bytes: Uint8Array) => Deno.writeFileSync(`${directory}/blobs/sha256/${sha256(bytes).slice(7)}`, bytes);
  return {
    blob: (bytes) => Promise.resolve(write(bytes)),
    manifest: (name, bytes, mediaType) => {
      write(bytes);
      const path = `${directory}/index.json`, index = JSON.parse(Deno.readTextFileSync(path));
      const annotations = name.startsWith("sha256:") ? undefined : { "org.opencontainers.image.ref.name": name };
      index.manifests.push({ mediaType, digest: sha256(bytes), size: bytes.length, annotations });
      Deno.writeTextFileSync(path, JSON.stringify(index));
      return Promise.resolve();
    },
  };
}

/** At the tag of cosign 1 and 2. */
export async function publishAttachments(place: Place, digest: string, layers: readonly Published[]): Promise<void> {
  await place.manifest(`${digest.replace(":", "-")}.sig`, await artifact(place, layers), OCI_MANIFEST);
}

/**
 * As artifacts that refer to the image, listed by the index at the tag that stands for the list.
 * @param older the type is that of the artifact's configuration, as before OCI image-spec 1.1.
 */
export async function publishReferrers(
  place: Place,
  subject: { digest: string; size: number },
  artifactType: string,
  layers: readonly Published[],
  { older = false } = {},
): Promise<void> {
  const manifests = [], config = { mediaType: artifactType, digest: sha256(EMPTY), size: EMPTY.length };
  for (const layer of layers) {
    const type = older ? { config } : { artifactType };
    const bytes = await artifact(place, [layer], { ...type, subject: { mediaType: OCI_MANIFEST, ...subject } });
    await place.manifest(sha256(bytes), bytes, OCI_MANIFEST);
    manifests.push({ mediaType: OCI_MANIFEST, digest: sha256(bytes), size: bytes.length, artifactType });
  }
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  await place.manifest(subject.digest.replace(":", "-"), jsonBytes(index), OCI_INDEX);
}

async function artifact(
  place: Place,
  layers: readonly Published[],
  more: Record<string, unknown> = {},
): Promise<Uint8Array> {
  await place.blob(EMPTY);
  for (const { bytes } of layers) await place.blob(bytes);
  return jsonBytes({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: sha256(EMPTY), size: EMPTY.length },
    layers: layers.map(({ mediaType, bytes, annotations }) => ({
      mediaType,
      digest: sha256(bytes),
      size: bytes.length,
      ...(annotations && { annotations }),
    })),
    ...more,
  });
}
