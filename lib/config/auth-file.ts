/**
 * One file of logins: containers-auth.json(5), Docker's config.json, and what Kubernetes makes of them in pull secrets
 * (`.dockerconfigjson`, `.dockercfg`).
 */
import * as z from "zod/mini";
import { CosError } from "../base/errors.ts";
import type { Credentials } from "../formats/endpoint.ts";

const entry = z.looseObject({
  auth: z.optional(z.nullable(z.string())),
  username: z.optional(z.nullable(z.string())),
  password: z.optional(z.nullable(z.string())),
  identitytoken: z.optional(z.nullable(z.string())),
  registrytoken: z.optional(z.nullable(z.string())),
});
const entries = z.record(z.string(), entry);
const authFile = z.looseObject({
  auths: z.optional(z.nullable(entries)),
  credHelpers: z.optional(z.nullable(z.record(z.string(), z.string()))),
  credsStore: z.optional(z.nullable(z.string())),
});
export type AuthFile = z.infer<typeof authFile>;

/** What Docker Hub is called where logins are kept for it. */
const HUB_KEY = "https://index.docker.io/v1/";

/** Throws `UNAUTHORIZED` where the text is no such file. */
export function parseAuthFile(text: string, path: string): AuthFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's own words quote the place, which may be a password.
    throw unreadable(path);
  }
  const result = authFile.safeParse(isOldForm(json) ? { auths: json } : json);
  if (!result.success) throw unreadable(path);
  return result.data;
}

/** `~/.dockercfg` and Kubernetes' secrets of that kind are what `auths` is in the newer form, without a frame. */
function isOldForm(json: unknown): boolean {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return false;
  const values: [string, unknown][] = Object.entries(json);
  return values.length > 0 && !("auths" in json) && values.every(([key, value]) =>
    // "registry.example", or a URL: the newer form's own keys have neither dot nor colon, and their values no login.
    /[.:]|^localhost$/.test(key) && typeof value === "object" && value !== null
  );
}

function unreadable(path: string): CosError {
  return new CosError("UNAUTHORIZED", `Cannot read the logins in ${path}: it is no valid JSON of that kind.`, {
    hint: "Write it anew, for instance with: skopeo login, docker login or podman login.",
  });
}

/**
 * The login of the most specific key: `host/namespace/repository`, then shorter ones, then the host, then patterns
 * (`*.example.org`, Kubernetes' form) in the same order.
 */
export function findLogin(
  { auths }: Pick<AuthFile, "auths">,
  host: string,
  repository: string,
): Credentials | undefined {
  const wanted = [normalKey(host), ...repository.split("/")];
  let best: Credentials | undefined, bestRank = 0;
  for (const [key, value] of Object.entries(auths ?? {})) {
    const rank = matchKey(key, wanted), login = rank > bestRank ? loginOf(value) : undefined;
    if (login !== undefined) [best, bestRank] = [login, rank];
  }
  return best;
}

/** 0 does not match; more parts rank higher, and any name above any pattern. */
function matchKey(key: string, [host = "", ...path]: readonly string[]): number {
  const [keyHost = "", ...keyPath] = normalKey(key).split("/");
  if (keyPath.length > path.length || keyPath.some((part, i) => part !== path[i])) return 0;
  const rank = 1 + keyPath.length;
  if (keyHost === host) return 1000 + rank;
  // "[fd00::1]" is an address, not a set of characters.
  return !/^\[[0-9a-f:]+\]/.test(keyHost) && /[*?[]/.test(keyHost) && globMatches(keyHost, host) ? rank : 0;
}

/** Kubernetes' rule: each part of the name is matched alone, and the ports must be the same. */
function globMatches(pattern: string, host: string): boolean {
  const [name, port] = splitPort(pattern), [hostName, hostPort] = splitPort(host);
  const parts = name.split("."), hostParts = hostName.split(".");
  return port === hostPort && parts.length === hostParts.length &&
    parts.every((part, i) => globPart(part, hostParts[i] ?? ""));
}

function splitPort(host: string): [string, string] {
  const match = /^(.*):([0-9]+)$/.exec(host);
  return match === null ? [host, ""] : [match[1] ?? "", match[2] ?? ""];
}

/** Go's filepath.Match: `*`, `?`, `[a-z]`, `[^a-z]`. Goes back to the last star only, so that no pattern takes long. */
function globPart(pattern: string, text: string): boolean {
  const tokens = pattern.match(/\[\^?[^\]]+\]|[\s\S]/g) ?? [];
  let token = 0, at = 0, star = -1, from = 0;
  while (at < text.length) {
    if (tokens[token] === "*") [star, from] = [token++, at];
    else if (token < tokens.length && one(tokens[token] ?? "", text.charAt(at))) [token, at] = [token + 1, at + 1];
    else if (star >= 0) [token, at] = [star + 1, ++from];
    else return false;
  }
  return tokens.slice(token).every((rest) => rest === "*");
}

function one(token: string, character: string): boolean {
  if (token === "?" || token === character) return true;
  if (token.length === 1) return false;
  const negated = token.startsWith("[^"), set = token.slice(negated ? 2 : 1, -1);
  const within = [...set.matchAll(/(.)-(.)|(.)/g)].some(([, low = "", high = "", single]) =>
    single === undefined ? low <= character && character <= high : single === character
  );
  return within !== negated;
}

/** Old files have URLs as keys; Docker Hub has several names; the case of a host's letters does not matter. */
function normalKey(key: string): string {
  if (/^(?:https?:\/\/)?(?:index\.docker\.io|registry-1\.docker\.io)(?:\/v[12])?\/?$/i.test(key)) return "docker.io";
  // Only URLs: what follows the host in "host/namespace" is a part of the repository's name.
  const url = /^https?:\/\/([^/]+)/i.exec(key);
  return (url?.[1] ?? key).replace(/^[^/]*/, (host) => host.toLowerCase());
}

function loginOf({ auth, username, password, identitytoken, registrytoken }: z.infer<typeof entry>) {
  const pair = decode(auth ?? ""), colon = pair.indexOf(":");
  const user = username ?? (colon > 0 ? pair.slice(0, colon) : "");
  const secret = password ?? (colon > 0 ? pair.slice(colon + 1) : "");
  if (registrytoken) return { username: user, password: "", registryToken: registrytoken };
  if (identitytoken) return { username: user, password: "", identityToken: identitytoken };
  const complete = (username && password !== null && password !== undefined) || colon > 0;
  return complete ? asCredentials(user, secret) : undefined;
}

/** The name `<token>` says that the secret is an identity token. */
export function asCredentials(username: string, secret: string): Credentials {
  return username === "<token>"
    ? { username: "", password: "", identityToken: secret }
    : { username, password: secret };
}

/** Which helper program knows logins for a host, and what it calls the host. `credHelpers` beats `credsStore`. */
export function helperOf(
  { credHelpers, credsStore }: AuthFile,
  host: string,
): { helper: string; server: string } | undefined {
  const wanted = normalKey(host);
  const own = Object.entries(credHelpers ?? {}).find(([key]) => normalKey(key) === wanted);
  const helper = own?.[1] || credsStore;
  if (!helper) return undefined;
  return { helper, server: wanted === "docker.io" ? HUB_KEY : host };
}

function decode(base64: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch (thrown) {
    if (thrown instanceof DOMException) return "";
    throw thrown;
  }
}
