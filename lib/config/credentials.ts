/** Where logins for registries are looked for: containers-auth.json(5) and Docker's config.json. */
import * as z from "zod/mini";
import { CosError } from "../base/errors.ts";
import type { Environment } from "./environment.ts";

export interface Login {
  username: string;
  password: string;
}

const entry = z.looseObject({
  auth: z.optional(z.string()),
  username: z.optional(z.string()),
  password: z.optional(z.string()),
});
const authFile = z.looseObject({ auths: z.optional(z.record(z.string(), entry)) });
type AuthFile = z.infer<typeof authFile>;

/** In the order in which they are asked; the first that knows the host or a part of the repository's name decides. */
export function authFilePaths(env: Environment): string[] {
  const home = env("HOME"), runtime = env("XDG_RUNTIME_DIR"), docker = env("DOCKER_CONFIG");
  return [
    env("REGISTRY_AUTH_FILE"),
    "/etc/cos/auth.json",
    runtime === undefined ? undefined : `${runtime}/containers/auth.json`,
    "/run/containers/0/auth.json",
    home === undefined ? undefined : `${home}/.config/containers/auth.json`,
    docker !== undefined ? `${docker}/config.json` : home === undefined ? undefined : `${home}/.docker/config.json`,
  ].filter((path) => path !== undefined && path !== "") as string[];
}

export function credentialLookup(env: Environment) {
  return async (host: string, repository: string): Promise<Login | undefined> => {
    for (const path of authFilePaths(env)) {
      const text = await readOptional(path);
      const found = text === undefined ? undefined : findLogin(parseAuthFile(text, path), host, repository);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** The entry of the most specific key: `host/namespace/repository`, then shorter ones, then the host. */
export function findLogin({ auths }: AuthFile, host: string, repository: string): Login | undefined {
  const parts = [host, ...repository.split("/")];
  for (let length = parts.length; length > 0; length--) {
    const wanted = parts.slice(0, length).join("/");
    for (const [key, { auth, username, password }] of Object.entries(auths ?? {})) {
      if (normalKey(key) !== wanted) continue;
      if (username !== undefined && password !== undefined) return { username, password };
      const pair = auth === undefined ? "" : decode(auth), colon = pair.indexOf(":");
      if (colon > 0) return { username: pair.slice(0, colon), password: pair.slice(colon + 1) };
    }
  }
  return undefined;
}

/** Old files have URLs as keys; Docker Hub has three names. */
function normalKey(key: string): string {
  if (/^(?:https?:\/\/)?(?:index\.docker\.io|registry-1\.docker\.io)(?:\/v[12])?\/?$/.test(key)) return "docker.io";
  const url = /^https?:\/\/([^/]+)/.exec(key);
  return url?.[1] ?? key;
}

function parseAuthFile(text: string, path: string): AuthFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  const result = authFile.safeParse(json);
  if (!result.success) throw unreadable(path);
  return result.data;
}

function unreadable(path: string, cause?: unknown): CosError {
  return new CosError("UNAUTHORIZED", `Cannot read the logins in ${path}: it is no valid JSON of that kind.`, {
    hint: "Write it anew, for instance with: skopeo login, docker login or podman login.",
    cause,
  });
}

function decode(base64: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
  } catch (thrown) {
    if (thrown instanceof DOMException) return "";
    throw thrown;
  }
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return undefined;
    throw thrown;
  }
}
