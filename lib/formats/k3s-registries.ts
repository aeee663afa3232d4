/**
 * `registries.yaml` of k3s and rke2 (docs.k3s.io, "Private Registry Configuration"; `pkg/agent/containerd/config.go` there):
 * mirrors of a host or of all, names rewritten for them, and each host's login and certificates.
 */
import * as z from "zod/mini";
import { checked, malformed, withoutLogin } from "./configuration.ts";
import type { Credentials } from "./endpoint.ts";
import { GoRegexp, RegexpError } from "./go-regexp.ts";
import { cleanPath } from "./hosts-toml.ts";
import { isNothing, parseYaml } from "./yaml.ts";

export interface Rewrite {
  pattern: GoRegexp;
  replacement: string;
}

export interface K3sMirror {
  endpoints: readonly K3sEndpoint[];
  /** In the order of the file; the first that changes the name counts. */
  rewrites: readonly Rewrite[];
}

export interface K3sEndpoint {
  origin: string;
  apiPath: string;
}

export interface K3sHost {
  credentials?: Credentials;
  /** Names of files; absent where the host has no settings of TLS at all. */
  tls?: { ca?: string; cert?: string; key?: string; skipVerify: boolean };
}

export interface K3sRegistries {
  /** By host; `*` for all that have none. */
  mirrors: ReadonlyMap<string, K3sMirror>;
  configs: ReadonlyMap<string, K3sHost>;
}

/** In a document where all is text, a key without a value is the empty one. */
function orNothing<T>(schema: z.ZodMiniType<T>) {
  const blank = (value: unknown) => isNothing(value) ? undefined : value;
  return z.optional(z.pipe(z.transform(blank), z.optional(schema)));
}
const text = z.optional(z.string());
const mirrorSchema = z.looseObject({
  endpoint: orNothing(z.array(z.string())),
  rewrite: orNothing(z.record(z.string(), z.string())),
});
const authSchema = z.looseObject({ username: text, password: text, auth: text, identity_token: text });
const tlsSchema = z.looseObject({ ca_file: text, cert_file: text, key_file: text, insecure_skip_verify: text });
const configSchema = z.looseObject({ auth: orNothing(authSchema), tls: orNothing(tlsSchema) });
const fileSchema = z.looseObject({
  mirrors: orNothing(z.record(z.string(), orNothing(mirrorSchema))),
  configs: orNothing(z.record(z.string(), orNothing(configSchema))),
});

/** Throws `CONFIGURATION`. @param path for messages. */
export function parseK3sRegistries(content: string, path: string): K3sRegistries {
  const { mirrors, configs } = checked(fileSchema, parseYaml(content, path), path);
  return {
    mirrors: new Map(
      Object.entries(mirrors ?? {}).map(([host, mirror]) => [host, {
        endpoints: distinct((mirror?.endpoint ?? []).map((endpoint) => endpointOf(endpoint, path))),
        rewrites: Object.entries(mirror?.rewrite ?? {}).map(([from, to]) => rewriteOf(from, to, path)),
      }]),
    ),
    configs: new Map(
      Object.entries(configs ?? {}).map(([host, config]) => [host, {
        credentials: config?.auth && credentialsOf(config.auth, host, path),
        tls: config?.tls && tlsOf(config.tls, host, path),
      }]),
    ),
  };
}

function endpointOf(endpoint: string, path: string): K3sEndpoint {
  const url = endpoint.includes("://") ? URL.parse(endpoint) : URL.parse(`${defaultScheme(endpoint)}://${endpoint}`);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:") || url.host === "") {
    throw malformed(path, `"${withoutLogin(endpoint)}" is no URL of a host`);
  }
  // As k3s has it: a path of its own stands in the place of /v2.
  return { origin: url.origin, apiPath: cleanPath(url.pathname) || "/v2" };
}

/** Loopback with an odd port is plain, where no scheme is given. */
function defaultScheme(endpoint: string): "http" | "https" {
  const [, port] = /^(?:localhost|127(?:\.[0-9]+){3}|\[::1\]):([0-9]+)(?:\/|$)/.exec(endpoint) ?? [];
  return port !== undefined && port !== "443" ? "http" : "https";
}

function distinct(endpoints: K3sEndpoint[]): K3sEndpoint[] {
  return [...new Map(endpoints.map((endpoint) => [endpoint.origin + endpoint.apiPath, endpoint])).values()];
}

function rewriteOf(from: string, replacement: string, path: string): Rewrite {
  try {
    return { pattern: new GoRegexp(from), replacement };
  } catch (thrown) {
    if (!(thrown instanceof RegexpError)) throw thrown;
    throw malformed(path, `cannot use the pattern "${from}" under "rewrite": ${thrown.message}`, undefined, thrown);
  }
}

/** The name by the first rewrite that changes it. */
export function rewritten(repository: string, rewrites: readonly Rewrite[]): string {
  for (const { pattern, replacement } of rewrites) {
    const result = pattern.replaceAll(repository, replacement);
    if (result !== repository) return result;
  }
  return repository;
}

/** In the order of the CRI plugin's ParseAuth. */
function credentialsOf(auth: z.infer<typeof authSchema>, host: string, path: string): Credentials | undefined {
  if (auth.username) return { username: auth.username, password: auth.password ?? "" };
  if (auth.identity_token) return { username: "", password: "", identityToken: auth.identity_token };
  if (!auth.auth) return undefined;
  let pair: string;
  try {
    pair = new TextDecoder().decode(Uint8Array.from(atob(auth.auth), (c) => c.charCodeAt(0)));
  } catch (thrown) {
    if (!(thrown instanceof DOMException)) throw thrown;
    pair = "";
  }
  const colon = pair.indexOf(":");
  if (colon < 0) throw malformed(path, `"auth" of the host "${host}" is not USER:PASSWORD in base64`);
  return { username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, "") };
}

function tlsOf(tls: z.infer<typeof tlsSchema>, host: string, path: string): K3sHost["tls"] {
  const { ca_file: ca, cert_file: cert, key_file: key, insecure_skip_verify: skip } = tls;
  if (!cert !== !key) throw malformed(path, `the host "${host}" has one of cert_file and key_file, and not both`);
  return {
    ...(ca && { ca }),
    ...(cert && key && { cert, key }),
    skipVerify: booleanOf(skip ?? "", path, `insecure_skip_verify of the host "${host}"`),
  };
}

/** YAML 1.1's words, which k3s's parser knows. */
function booleanOf(word: string, path: string, what: string): boolean {
  if (/^(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON)$/.test(word)) return true;
  if (/^(?:|~|null|n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$/.test(word)) return false;
  throw malformed(path, `${what} is "${word}", not true or false`);
}
