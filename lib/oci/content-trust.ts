/**
 * Fetching what a server of Docker Content Trust keeps of a repository: one small file a role. It asks for a login as a registry
 * does, and takes the registry's. What the files are worth is for `lib/trust` to say.
 */
import type { Bytes } from "../base/bytes.ts";
import type { Events } from "../base/events.ts";
import { isLoopback, type TlsSettings } from "../formats/endpoint.ts";
import type { RegistryReference } from "../formats/reference.ts";
import type { System } from "../system/system.ts";
import type { MetadataFile } from "../trust/mod.ts";
import type { CredentialLookup } from "./auth.ts";
import { readAll } from "./body.ts";
import { EndpointClient } from "./client.ts";
import { STALL_LIMIT, Transport } from "./transport.ts";

export interface TrustServerOptions {
  /** `https://trust.example.org`; undefined: the one that belongs to the registry. */
  server: string | undefined;
  credentials: CredentialLookup;
  hostTls?: ((host: string) => Promise<TlsSettings>) | undefined;
  userAgent: string;
  events?: Events | undefined;
}

/** Docker's rule: Docker Hub's is a host of its own, any other registry's is the registry's. Loopback addresses are plain. */
export function defaultServer({ host }: Pick<RegistryReference, "host">): string {
  if (host === "docker.io") return "https://notary.docker.io";
  return `${isLoopback(host) ? "http" : "https"}://${host}`;
}

/** Throws `REGISTRY_*` and `UNAUTHORIZED` as pulling does. */
export async function trustFiles(
  reference: RegistryReference,
  gun: string,
  system: Pick<System, "fetch" | "now" | "wait">,
  options: TrustServerOptions,
  signal?: AbortSignal,
): Promise<MetadataFile> {
  const { credentials, hostTls, userAgent, events = () => {} } = options;
  const { origin, host } = new URL(options.server ?? defaultServer(reference));
  const transport = new Transport(system, { userAgent, events, stallLimit: STALL_LIMIT });
  const endpoint = {
    ...{ origin, apiPath: "/v2", repository: gun, tags: false, digests: false, query: {}, headers: {} },
    tls: await hostTls?.(host) ?? { ca: [] },
    loginHost: reference.host,
  };
  const client = new EndpointClient(endpoint, transport, {
    subject: `the content trust of ${gun}`,
    who: `the trust server ${host}`,
    credentials: (registry, _gun, own) => credentials(registry, reference.repository, own),
  });
  const read = async (name: string, most: number): Promise<Bytes | undefined> => {
    const answer = await client.get("_trust/tuf", `${name}.json`, { Accept: "application/json" }, signal);
    const { response, from } = answer;
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status !== 200) throw await client.failure(answer, "file of content trust", signal);
    await client.refuseEncoded(answer, "file of content trust");
    const what = `${name}.json of ${gun}`;
    return await readAll(response, from.host, most, what, transport.stallLimit, signal) as Bytes;
  };
  return (name, most) => transport.again(() => read(name, most), signal);
}
