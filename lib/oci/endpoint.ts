/** The URLs of an endpoint: OCI distribution-spec 1.1, "Endpoints". */
import type { Endpoint } from "../formats/endpoint.ts";

export { isLoopback, registryEndpoint } from "../formats/endpoint.ts";
export type { Endpoint };

/** The last is a trust server's, whose paths begin as a registry's do. */
export type Resource = "manifests" | "blobs" | "referrers" | "_trust/tuf";

/** @param name a tag or digest, already known to be one; or a file of a trust server's. @param page of a list, as the registry's link to it says. */
export function endpointUrl(endpoint: Endpoint, kind: Resource, name: string, page?: URLSearchParams): URL {
  const url = new URL(`${endpoint.origin}${endpoint.apiPath}/${endpoint.repository}/${kind}/${name}`);
  for (const [key, value] of page ?? []) url.searchParams.set(key, value);
  for (const [key, value] of Object.entries(endpoint.query)) url.searchParams.set(key, value);
  return url;
}

/** For people: host, with the port where one was given. */
export function endpointHost({ origin }: Endpoint): string {
  return new URL(origin).host;
}
