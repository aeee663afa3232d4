/** The URLs of an endpoint: OCI distribution-spec 1.1, "Endpoints". */
import type { Endpoint } from "../formats/endpoint.ts";

export { isLoopback, registryEndpoint } from "../formats/endpoint.ts";
export type { Endpoint };

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
