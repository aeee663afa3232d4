/** Where an image may be fetched from, as data: `lib/config` finds endpoints, `lib/oci` speaks to them. */
import type { RegistryReference } from "./reference.ts";

export interface Credentials {
  /** Empty where there is only a token. */
  username: string;
  password: string;
  /** Exchanged for bearer tokens by a POST: what registries with OAuth2 give instead of a password. */
  identityToken?: string;
  /** Is a bearer token itself. */
  registryToken?: string;
}

export interface TlsSettings {
  /** Certificates (PEM) that are trusted besides the system's. */
  ca: readonly string[];
  /** The client's own certificate and key (PEM): both or neither. */
  cert?: string;
  key?: string;
  /** The server's certificate is not looked at, because the operator said so for this host. */
  skipVerify?: boolean;
}

export interface Endpoint {
  /** `https://mirror:5000`: scheme, host and port. */
  origin: string;
  /** `/v2`, or what a configuration says is in its place; without a slash at its end. */
  apiPath: string;
  /** As this endpoint calls it. */
  repository: string;
  /** May be asked what a tag means. */
  tags: boolean;
  /** May be asked for manifests and blobs by their digest. */
  digests: boolean;
  /** Added to each request, like `ns=docker.io` for containerd's mirrors. */
  query: Readonly<Record<string, string>>;
  /** Added to each request to this origin, and to no other: they may hold secrets. */
  headers: Readonly<Record<string, string>>;
  tls: TlsSettings;
  /** Absent: looked up under `loginHost`. */
  credentials?: Credentials;
  /** The host (with port) that logins are filed under; absent: the origin's. */
  loginHost?: string;
}

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

export function isLoopback(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.[0-9]{1,3}){3}$/.test(name);
}
