/** Authentication with registries: the Distribution project's token specification, and HTTP Basic (RFC 7617). */

import type { Credentials } from "../formats/endpoint.ts";

export type { Credentials };

/** Finds credentials for a host and repository; undefined means: try without. */
export type CredentialLookup = (
  host: string,
  repository: string,
  signal?: AbortSignal,
) => Promise<Credentials | undefined>;

export interface Challenge {
  /** Lower-case. */
  scheme: string;
  /** Names are lower-case. */
  parameters: Map<string, string>;
}

/** Reads a `WWW-Authenticate` header, which may hold several challenges (RFC 9110, section 11.6.1). */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
  let at = 0;
  const skip = (characters: string) => {
    while (at < header.length && characters.includes(header.charAt(at))) at++;
  };
  const read = (): string | undefined => {
    token.lastIndex = at;
    const match = token.exec(header);
    if (match === null) return undefined;
    at += match[0].length;
    return match[0];
  };
  while (at < header.length) {
    skip(" \t,");
    const start = at, word = read();
    if (word === undefined) break;
    skip(" \t");
    if (header.charAt(at) !== "=") {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
      // Some schemes (Negotiate) carry one value without a name in place of parameters: RFC 9110, "token68".
      const value = /[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)/y;
      value.lastIndex = at;
      at += value.exec(header)?.[0].length ?? 0;
      continue;
    }
    at++;
    skip(" \t");
    let value: string;
    if (header.charAt(at) === '"') {
      const quoted = /"((?:[^"\\]|\\.)*)"?/y;
      quoted.lastIndex = at;
      const match = quoted.exec(header);
      value = (match?.[1] ?? "").replace(/\\(.)/g, "$1");
      at += match?.[0].length ?? 1;
    } else value = read() ?? "";
    const current = challenges.at(-1);
    if (current === undefined || at === start) break;
    current.parameters.set(word.toLowerCase(), value);
  }
  return challenges;
}

export function basicHeader({ username, password }: Pick<Credentials, "username" | "password">): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}
