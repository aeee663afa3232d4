/** Where logins for registries are looked for, and in which order: docs/registries.md has the table. */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { Credentials } from "../formats/endpoint.ts";
import type { HelperRunner } from "../system/credential-helper.ts";
import { asCredentials, type AuthFile, findLogin, helperOf, parseAuthFile } from "./auth-file.ts";
import type { Environment } from "./environment.ts";
import { isDirectory, type OtherRoot, readOptional } from "./files.ts";

export interface CredentialOptions {
  /** `--auth-file`. */
  file?: string;
  /** More files or directories that are asked before the usual ones, and may be missing. */
  first?: readonly string[];
  /** Runs a helper program; without it they are left out. */
  runHelper?: HelperRunner;
  /** Asked where nothing here knows a login. No helper is run for it. */
  elsewhere?: OtherRoot;
  /** Told of helpers and files that cannot be used; the search goes on. */
  warn?: (text: string) => void;
}

/** In a directory that a pull secret is mounted as, or that `DOCKER_CONFIG` names. */
const IN_DIRECTORY = [".dockerconfigjson", ".dockercfg", "config.json", "auth.json"];

/** In the order in which they are asked; the first that knows the host or a part of the repository's name decides. */
export function authFilePaths(env: Environment, file?: string, first: readonly string[] = []): string[] {
  const home = env("HOME"), runtime = env("XDG_RUNTIME_DIR"), docker = env("DOCKER_CONFIG");
  return [
    file,
    ...first,
    env("REGISTRY_AUTH_FILE"),
    "/etc/cos/auth.json",
    runtime === undefined ? undefined : `${runtime}/containers/auth.json`,
    "/run/containers/0/auth.json",
    home === undefined ? undefined : `${home}/.config/containers/auth.json`,
    docker !== undefined ? `${docker}/config.json` : home === undefined ? undefined : `${home}/.docker/config.json`,
    home === undefined ? undefined : `${home}/.dockercfg`,
  ].filter((path) => path !== undefined && path !== "") as string[];
}

/** Nobody's environment but that of root, who is logged in nowhere. */
const rootAlone: Environment = (name) => name === "HOME" ? "/root" : undefined;

export function credentialLookup(env: Environment, options: CredentialOptions = {}) {
  const { file, first, elsewhere, warn = () => {} } = options;
  return async (host: string, repository: string, signal?: AbortSignal): Promise<Credentials | undefined> => {
    const asked = new Set<string>();
    for (const named of authFilePaths(env, file, first)) {
      const wanted = named === file || named === env("REGISTRY_AUTH_FILE");
      const path = await fileIn(named);
      const text = await readOptional(path, () => warn(`The logins in ${path} may not be read.`));
      if (text === undefined) {
        if (named === file) throw noSuchFile(file);
        if (wanted) warn(`REGISTRY_AUTH_FILE names ${named}, which cannot be read.`);
        continue;
      }
      const parsed = parseAuthFile(text, path);
      const found = await askHelper(parsed, host, options, asked, signal) ?? findLogin(parsed, host, repository);
      if (found !== undefined) return found;
    }
    return await elsewhere?.(async (root) => {
      for (const path of authFilePaths(rootAlone).map((own) => `${root}${own}`)) {
        const text = await readOptional(path);
        const found = text === undefined ? undefined : findLogin(parseAuthFile(text, path), host, repository);
        if (found !== undefined) return found;
      }
      return undefined;
    });
  };
}

async function fileIn(path: string): Promise<string> {
  if (!await isDirectory(path)) return path;
  for (const name of IN_DIRECTORY) {
    if (await readOptional(`${path}/${name}`, () => {}) !== undefined) return `${path}/${name}`;
  }
  return `${path}/${IN_DIRECTORY[0]}`;
}

function noSuchFile(file: string): CosError {
  return new CosError("USAGE", `Cannot read the file of logins that --auth-file names: ${displayText(file)}.`, {
    hint: "Check the path; such a file is made by skopeo login, docker login or podman login.",
  });
}

const helperAnswer = z.looseObject({ Username: z.optional(z.string()), Secret: z.string() });

/** What helpers print where they know no login: docker-credential-helpers, `errCredentialsNotFoundMessage`. */
const NOT_FOUND = /credentials not found/i;

/**
 * Whatever goes wrong with a helper is a warning: the registry may need no login, or another file may have it.
 * @param asked the helpers that had no answer: several files may name the same one, and one that hangs does so each time
 */
async function askHelper(
  file: AuthFile,
  host: string,
  { runHelper, warn = () => {} }: CredentialOptions,
  asked: Set<string>,
  signal: AbortSignal | undefined,
) {
  const chosen = helperOf(file, host);
  if (chosen === undefined || runHelper === undefined) return undefined;
  const { helper, server } = chosen;
  // It becomes a part of a program's name: "x/../../tmp/evil" must not.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(helper)) {
    warn(`The login for ${host} is left out: "${displayText(helper, 64)}" cannot be a credential helper's name.`);
    return undefined;
  }
  if (asked.has(helper)) return undefined;
  asked.add(helper);
  const program = `docker-credential-${helper}`, answer = await runHelper(program, ["get"], server, signal);
  const failed = (why: string) => {
    warn(`The login for ${host} is left out: ${program} ${why}.`);
    return undefined;
  };
  switch (answer.outcome) {
    case "missing":
      return failed("is not installed");
    case "timeout":
      return failed(`did not answer within ${answer.seconds} seconds`);
    case "too-long":
      return failed("printed far too much");
    case "ended": {
      if (answer.status !== 0) {
        const said = (answer.out || answer.err).trim();
        if (NOT_FOUND.test(said)) return undefined;
        // What looks like a login after all is none of the terminal's business.
        const words = /"?secret"?\s*:/i.test(said) ? "" : `: ${displayText(said)}`;
        return failed(`ended with status ${answer.status}${words}`);
      }
      const found = parseAnswer(answer.out);
      return found ?? failed("answered with something else than a login");
    }
  }
}

function parseAnswer(text: string): Credentials | undefined {
  try {
    const result = helperAnswer.safeParse(JSON.parse(text));
    return result.success ? asCredentials(result.data.Username ?? "", result.data.Secret) : undefined;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}
