/** Mirrors of containers-registries.conf(5). */
import { CosError } from "../base/errors.ts";
import { type Endpoint, registryEndpoint } from "../formats/endpoint.ts";
import {
  findRule,
  mergeRules,
  parseRegistriesConf,
  type RegistryLocation,
  type RegistryRule,
  relocate,
} from "../formats/registries-conf.ts";
import { schemeOf, upstream } from "./mirror-endpoints.ts";
import type { ConfigurationFile } from "./mirror-files.ts";
import type { MirrorKind, MirrorOptions, MirrorReference } from "./mirrors.ts";

/** @param files the later ones replace what the earlier ones say of a prefix. Throws `CONFIGURATION`. */
export function containersMirrors(files: readonly ConfigurationFile[]): MirrorKind {
  const rules = mergeRules(files.map(({ text, path }) => parseRegistriesConf(text, path)));
  return async (reference, options) => {
    const rule = findRule(rules, reference);
    if (rule === undefined) return undefined;
    if (rule.blocked) throw blocked(rule, reference);
    const digested = reference.digest !== undefined;
    // As containers' tools do: what counts is how the image is named, not what is asked for under way.
    const mirrors = rule.mirrors.filter(({ use }) => use === "all" || digested === (use === "digest-only"));
    return await Promise.all([
      ...mirrors.map((mirror) => endpointOf(rule, mirror, reference, { ...options, plainHttp: false })),
      endpointOf(rule, rule, reference, options),
    ]);
  };
}

async function endpointOf(
  rule: RegistryRule,
  location: RegistryLocation,
  reference: MirrorReference,
  options: MirrorOptions,
): Promise<Endpoint> {
  const place = relocate(rule, location, reference);
  if (!location.insecure) return await upstream(place, undefined, options);
  const tls = { ...await options.hostTls(place.host), skipVerify: true }, plain = { plainHttp: true, tls };
  const endpoint = registryEndpoint(place, plain), { host, port } = new URL(endpoint.origin);
  // Port 80 is left out of URLs, and plain.
  const scheme = port === "" && /:[0-9]+$/.test(place.host) ? "http" : await schemeOf(host, tls, options.fetch);
  return { ...endpoint, origin: `${scheme}://${host}` };
}

function blocked({ prefix, path }: RegistryRule, { host, repository }: MirrorReference): CosError {
  return new CosError("BLOCKED", `Refused ${host}/${repository}: ${path} blocks ${prefix}.`, {
    hint: `Pull from another registry, or take "blocked" out of that file.`,
  });
}
