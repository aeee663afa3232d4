/**
 * containers-registries.conf(5), version 2 and the older version 1: which registry is blocked, moved or mirrored. Short names
 * (`unqualified-search-registries`, `aliases`) mean nothing here: cos takes none.
 */
import * as z from "zod/mini";
import { checked, malformed, splitHost } from "./configuration.ts";
import { isRepository, type RegistryReference } from "./reference.ts";
import { parseToml } from "./toml.ts";

/** For which references a mirror is asked. */
export type MirrorUse = "all" | "digest-only" | "tag-only";

export interface RegistryLocation {
  /** `HOST[:PORT][/PATH]`; empty for the name as it is (only under a `*.` prefix). */
  location: string;
  /** TLS without verification, or none at all. */
  insecure: boolean;
}

export interface RegistryRule extends RegistryLocation {
  /** `HOST[/PATH]`, `*.DOMAIN`. */
  prefix: string;
  blocked: boolean;
  mirrors: readonly (RegistryLocation & { use: MirrorUse })[];
  /** The file that says so. */
  path: string;
}

const text = z.optional(z.string()), flag = z.optional(z.boolean());
const mirrorSchema = z.looseObject({ location: text, insecure: flag, "pull-from-mirror": text });
const registrySchema = z.looseObject({
  prefix: text,
  location: text,
  insecure: flag,
  blocked: flag,
  "mirror-by-digest-only": flag,
  "pull-from-mirror": text,
  mirror: z.optional(z.array(mirrorSchema)),
});
const fileSchema = z.looseObject({ registry: z.optional(z.array(registrySchema)) });
const oldList = z.optional(z.looseObject({ registries: z.optional(z.array(z.string())) }));
const oldSchema = z.looseObject({ registries: z.looseObject({ insecure: oldList, block: oldList }) });

/** Throws `CONFIGURATION`. @param path for messages. */
export function parseRegistriesConf(content: string, path: string): RegistryRule[] {
  const table = parseToml(content, path);
  const found = checked(fileSchema, table, path).registry ?? [];
  if (!("registries" in table)) return found.map((registry) => ruleOf(registry, path));
  if (found.length > 0 || "unqualified-search-registries" in table) {
    throw malformed(path, "it mixes the versions 1 ([registries.…]) and 2 ([[registry]]) of its format");
  }
  const { registries: { insecure, block } } = checked(oldSchema, table, path);
  const insecureHosts = (insecure?.registries ?? []).map((name) => location(name, path));
  const blocked = (block?.registries ?? []).map((name) => location(name, path));
  return [...new Set([...insecureHosts, ...blocked])].map((prefix) => ({
    prefix,
    location: prefix,
    insecure: insecureHosts.includes(prefix),
    blocked: blocked.includes(prefix),
    mirrors: [],
    path,
  }));
}

function ruleOf(registry: z.infer<typeof registrySchema>, path: string): RegistryRule {
  const own = location(registry.location ?? "", path), prefix = location(registry.prefix ?? "", path) || own;
  const wildcard = prefix.startsWith("*.");
  if (prefix === "") throw malformed(path, "a [[registry]] has neither a prefix nor a location");
  if (/[*]/.test(wildcard ? prefix.slice(2) : prefix) || (wildcard && prefix.includes("/"))) {
    throw malformed(path, `the prefix "${prefix}" has a star in another place than "*.example.org"`);
  }
  if (own === "" && !wildcard && registry.blocked !== true) {
    throw malformed(
      path,
      `the registry "${prefix}" has no location, which only a prefix like "*.example.org" may lack`,
    );
  }
  if (registry["pull-from-mirror"] !== undefined) {
    throw malformed(path, `pull-from-mirror stands at the registry "${prefix}"; it is for its mirrors`);
  }
  const digestOnly = registry["mirror-by-digest-only"] === true;
  const mirrors = (registry.mirror ?? []).map((mirror) => {
    const place = location(mirror.location ?? "", path), use = mirror["pull-from-mirror"] || "all";
    if (place === "") throw malformed(path, `a mirror of "${prefix}" has no location`);
    if (use !== "all" && use !== "digest-only" && use !== "tag-only") {
      throw malformed(
        path,
        `pull-from-mirror is "${use}" at a mirror of "${prefix}", not all, digest-only or tag-only`,
      );
    }
    if (digestOnly && mirror["pull-from-mirror"]) {
      throw malformed(path, `"${prefix}" has mirror-by-digest-only, and a mirror of it pull-from-mirror`);
    }
    const own: MirrorUse = digestOnly ? "digest-only" : use;
    return { location: place, insecure: mirror.insecure === true, use: own };
  });
  return {
    prefix,
    location: own,
    insecure: registry.insecure === true,
    blocked: registry.blocked === true,
    mirrors,
    path,
  };
}

function location(name: string, path: string): string {
  if (/^https?:\/\//.test(name)) {
    throw malformed(path, `"${name}" is a URL; here stands a registry's name, without http://`);
  }
  return name.replace(/\/+$/, "");
}

/** Later files replace what earlier ones say of the same prefix. */
export function mergeRules(files: readonly (readonly RegistryRule[])[]): RegistryRule[] {
  return [...new Map(files.flat().map((rule) => [rule.prefix, rule])).values()];
}

/** The rule of the longest prefix that the reference begins with. */
export function findRule(rules: readonly RegistryRule[], reference: NamedReference): RegistryRule | undefined {
  const name = fullName(reference);
  let best: RegistryRule | undefined;
  for (const rule of rules) {
    if (matchLength(name, rule.prefix) > 0 && rule.prefix.length > (best?.prefix.length ?? 0)) best = rule;
  }
  return best;
}

export type NamedReference = Pick<RegistryReference, "host" | "repository" | "tag" | "digest">;

/** As containers' tools print it: with the tag before the digest. */
function fullName({ host, repository, tag, digest }: NamedReference): string {
  return `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** How many characters of the name the prefix stands for; 0 where it does not match. */
function matchLength(name: string, prefix: string): number {
  let end = prefix.length;
  if (prefix.startsWith("*.")) {
    const at = name.indexOf(prefix.slice(1));
    if (at < 1 || name.slice(0, at).includes("/")) return 0;
    end = at + prefix.length - 1;
  } else if (!name.startsWith(prefix)) return 0;
  return end === name.length || ":/@".includes(name.charAt(end)) ? end : 0;
}

/** Where the reference lies there: its prefix is replaced by the location. Throws `CONFIGURATION` where no name comes out. */
export function relocate(
  { prefix, path }: RegistryRule,
  { location }: RegistryLocation,
  reference: NamedReference,
): { host: string; repository: string } {
  const { host, repository } = reference;
  if (location === "") return { host, repository };
  const base = `${host}/${repository}`, length = matchLength(fullName(reference), prefix);
  let moved = location + base.slice(length);
  if (length > base.length) {
    // A prefix of one tag or digest: the location names the same one.
    const suffix = fullName(reference).slice(base.length, length);
    if (!location.endsWith(suffix)) {
      throw malformed(path, `the prefix "${prefix}" is of one tag or digest, and its location not of the same one`);
    }
    moved = location.slice(0, -suffix.length);
  }
  const split = splitHost(moved);
  if (split === undefined) throw malformed(path, `the location "${location}" names no registry's host`);
  const library = split.host === "docker.io" && split.rest !== "" && !split.rest.includes("/");
  const name = library ? `library/${split.rest}` : split.rest;
  if (!isRepository(name)) {
    throw malformed(path, `with the location "${location}", "${base}" becomes no repository's name`);
  }
  return { host: split.host, repository: name };
}
