/** Pulls by a machine's configuration of mirrors: its files lie in a scratch root. */
import { dirname, join } from "node:path";
import type { CosEvent } from "../../lib/base/events.ts";
import { hostCertificates } from "../../lib/config/certificates.ts";
import { httpSettings } from "../../lib/config/http.ts";
import { mirrorLookup } from "../../lib/config/mirrors.ts";
import { layerBytes, resolveImage } from "../../lib/oci/pull.ts";
import { RealHttp } from "../../lib/system/http.ts";
import { scratchDirectory } from "./cleanup.ts";
import { collect } from "./expect.ts";
import type { FakeRegistry } from "./fake-registry.ts";
import { packLayer } from "./oci-layout.ts";
import { endpointOf, referenceOf, sourceOf, textsOf } from "./pulling.ts";
import { file, tar } from "./tar-writer.ts";

export interface MirroredMachine extends AsyncDisposable {
  root: string;
  /** Writes a file of the machine; its name begins with `/`. */
  write(path: string, text: string): void;
  /** What the configuration says, as `ORIGIN+API-PATH REPOSITORY`. */
  endpoints(reference: string): Promise<string[] | undefined>;
  /** Pulls all of an image, every byte proven; returns its digest and what was warned of. */
  pull(reference: string): Promise<{ digest: string; warnings: string[] }>;
}

export function mirroredMachine(env: Record<string, string> = {}): MirroredMachine {
  const scratch = scratchDirectory("mirrored"), root = scratch.path;
  const http = new RealHttp(httpSettings(() => undefined, () => {}));
  const directories = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map((path) => root + path);
  const warnings: string[] = [];
  const lookup = mirrorLookup({
    root,
    env: (name) => env[name],
    plainHttp: false,
    hostTls: (host) => hostCertificates(host, directories),
    fetch: (url, init, tls) => http.fetch(url, init, tls),
    warn: (text) => warnings.push(text),
  });
  return {
    root,
    write(path, text) {
      Deno.mkdirSync(dirname(join(root, path)), { recursive: true });
      Deno.writeTextFileSync(join(root, path), text);
    },
    async endpoints(reference) {
      const found = await lookup(referenceOf(reference));
      return found?.map(({ origin, apiPath, repository }) => `${origin}${apiPath} ${repository}`);
    },
    async pull(reference) {
      const parsed = referenceOf(reference), events: CosEvent[] = [];
      warnings.splice(0);
      const endpoints = await lookup(parsed) ?? [endpointOf(parsed.host, parsed.repository)];
      const source = sourceOf(reference, { endpoints, events, fetch: (url, init, tls) => http.fetch(url, init, tls) });
      const image = await resolveImage(source, { os: "linux", architecture: "amd64" });
      for (const layer of image.manifest.layers) await collect(layerBytes(image, layer));
      return { digest: image.digest, warnings: [...warnings, ...textsOf(events, "warning")] };
    },
    async [Symbol.asyncDispose]() {
      http[Symbol.dispose]();
      await scratch.close();
    },
  };
}

/** Stores a small image in a fake registry (which knows no repositories); returns its digest. */
export function storeImage(registry: FakeRegistry, content: string, ...tags: string[]): string {
  const layer = packLayer(tar([file("a", content)]), "gzip");
  const config = registry.blob(
    JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [layer.diffId] } }),
    "application/vnd.oci.image.config.v1+json",
  );
  const stored = registry.blob(layer.content as Uint8Array, "application/vnd.oci.image.layer.v1.tar+gzip");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  return registry.manifest({ schemaVersion: 2, mediaType, config, layers: [stored] }, ...tags).digest;
}

/** What the registry was asked for since the last look, without digests: `manifests v1`, `blobs`. */
export function askedOf(registry: FakeRegistry): string[] {
  return registry.seen.splice(0).filter(({ server }) => server === "registry")
    .map(({ url }) => url.replace(/\/sha256:[0-9a-f]+/, "/…"));
}
