/** Mirrors of `registries.yaml` of k3s and rke2, as the containerd that they start is told of them. */
import { CosError } from "../base/errors.ts";
import type { Endpoint, TlsSettings } from "../formats/endpoint.ts";
import {
  type K3sEndpoint,
  type K3sHost,
  type K3sMirror,
  type K3sRegistries,
  parseK3sRegistries,
  rewritten,
} from "../formats/k3s-registries.ts";
import { isRepository } from "../formats/reference.ts";
import { isRegistryItself } from "./containerd-mirrors.ts";
import { readTls, saysTls, type TlsFiles, upstream, withScheme } from "./mirror-endpoints.ts";
import type { ConfigurationFile } from "./mirror-files.ts";
import type { MirrorKind, MirrorOptions, MirrorReference } from "./mirrors.ts";

/** @param files the first that says something about a host counts. Throws `CONFIGURATION`. */
export function k3sMirrors(files: readonly ConfigurationFile[]): MirrorKind {
  const parsed = files.map(({ text, path }) => ({ path, registries: parseK3sRegistries(text, path) }));
  return async (reference, options) => {
    for (const { path, registries } of parsed) {
      const { mirrors, configs } = registries, { host } = reference;
      const mirror = mirrors.get(host) ?? mirrors.get("*");
      const hosts = new Hosts(registries, path, options), endpoints = mirror?.endpoints ?? [];
      if (endpoints.length === 0 && hosts.of(host) === undefined && configs.get("*") === undefined) continue;
      const found = await Promise.all(endpoints.map((one) => endpointOf(one, mirror, hosts, reference, path, options)));
      const { tls, credentials } = await hosts.settings(host, "*");
      const own = { ...await upstream(reference, tls, options), ...(credentials && { credentials }) };
      const last = await withScheme(own, tls !== undefined, options);
      // Where the registry itself stands last in the list, with what is rewritten for it, that is how it is asked.
      const named = found.at(-1);
      return named !== undefined && placeOf(named) === placeOf(last) ? found : [...found, last];
    }
    return undefined;
  };
}

function placeOf({ origin, apiPath }: Endpoint): string {
  return new URL(origin).origin + apiPath;
}

/** What the file says of hosts. */
class Hosts {
  constructor(
    readonly registries: K3sRegistries,
    readonly path: string,
    readonly options: MirrorOptions,
  ) {}

  /** Docker Hub has two names. */
  of(host: string): K3sHost | undefined {
    const { configs } = this.registries;
    return (host === "docker.io" ? configs.get("registry-1.docker.io") : undefined) ?? configs.get(host);
  }

  /** Settings of the first of the hosts that has any. */
  async settings(...hosts: string[]): Promise<{ tls?: TlsSettings; credentials?: Endpoint["credentials"] }> {
    const found = hosts.map((host) => this.of(host)).find((one) => one !== undefined);
    if (found === undefined) return {};
    const { credentials, tls } = found;
    const files: TlsFiles = {
      ca: tls?.ca === undefined ? [] : [tls.ca],
      cert: tls?.cert,
      key: tls?.key,
      skipVerify: tls?.skipVerify === true,
    };
    return { credentials, ...(saysTls(files) && { tls: await readTls(files, this.options.root, this.path) }) };
  }
}

async function endpointOf(
  { origin, apiPath }: K3sEndpoint,
  mirror: K3sMirror | undefined,
  hosts: Hosts,
  reference: MirrorReference,
  path: string,
  options: MirrorOptions,
): Promise<Endpoint> {
  const { host } = new URL(origin), name = host === "registry-1.docker.io" ? "docker.io" : host;
  const repository = rewritten(reference.repository, mirror?.rewrites ?? []);
  if (!isRepository(repository)) {
    throw new CosError(
      "CONFIGURATION",
      `Cannot use ${path}: it rewrites ${reference.repository} to no repository's name.`,
      {
        hint: `It comes out as ${
          JSON.stringify(repository.slice(0, 100))
        }: mend the pattern or what it is replaced by.`,
      },
    );
  }
  const { tls, credentials } = await hosts.settings(name);
  const endpoint: Endpoint = {
    origin,
    apiPath,
    repository,
    tags: true,
    digests: true,
    query: isRegistryItself(host, reference.host) ? {} : { ns: reference.host },
    headers: {},
    tls: tls ?? await options.hostTls(host),
    ...(credentials && { credentials }),
    loginHost: name,
  };
  return await withScheme(endpoint, tls !== undefined, options);
}
