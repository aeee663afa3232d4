/** The URLs of an endpoint: OCI distribution-spec 1.1, "Endpoints". */
import type { Endpoint, TlsSettings } from "../formats/endpoint.ts";
import type { RegistryReference } from "../formats/reference.ts";

export type { Endpoint };

export interface DirectOptions {
  /** Speak HTTP without TLS, because the operator said so. Loopback addresses need no word: nobody can listen there. */
  plainHttp: boolean;
  tls?: TlsSettings;
}

/** The registry that the reference names, itself. */
export function registryEndpoint(
  { host, repository }: Pick<RegistryReference, "host" | "repository">,
  { plainHttp, tls }: DirectOptions,
): Endpoint {
  const name = host === "docker.io" ? "registry-1.docker.io" : host;
  const scheme = plainHttp || isLoopback(name) ? "http" : "https";
  return {
    origin: `${scheme}://${name}`,
    apiPath: "/v2",
    repository,
    tags: true,
    digests: true,
    query: {},
    headers: {},
    tls: tls ?? { ca: [] },
    loginHost: host,
  };
}

/** @param name a tag or digest, already known to be one. */
export function endpointUrl(endpoint: Endpoint, kind: "manifests" | "blobs", name: string): URL {
  const url = new URL(`${endpoint.origin}${endpoint.apiPath}/${endpoint.repository}/${kind}/${name}`);
  for (const [key, value] of Object.entries(endpoint.query)) url.searchParams.set(key, value);
  return url;
}

/** For people: host, with the port where one was given. */
export function endpointHost({ origin }: Endpoint): string {
  return new URL(origin).host;
}

export function isLoopback(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.[0-9]{1,3}){3}$/.test(name);
}
