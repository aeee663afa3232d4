/** Mirrors of containerd's host directories: `certs.d/HOST/hosts.toml`. */
import { displayText } from "../base/byte-string.ts";
import type { Endpoint } from "../formats/endpoint.ts";
import { type ConfiguredHost, parseHostsToml } from "../formats/hosts-toml.ts";
import { hostCertificates } from "./certificates.ts";
import { isDirectory, listOptional } from "./files.ts";
import { readTls, saysTls, upstream, withScheme } from "./mirror-endpoints.ts";
import { readFiles } from "./mirror-files.ts";
import type { MirrorKind, MirrorOptions, MirrorReference } from "./mirrors.ts";

/** @param root the directory that holds one directory a host. */
export function containerdMirrors(root: string): MirrorKind {
  return async (reference, options) => {
    const name = await firstDirectory(root, namesOf(reference.host)), directory = `${root}/${name}`;
    if (name === undefined) return undefined;
    const [file] = await readFiles([`${directory}/hosts.toml`]);
    if (file === undefined || file.text.trim() === "") {
      // As in Docker's directories: certificates for the registry itself.
      if (!(await listOptional(directory)).some((name) => /\.(?:crt|cert|key)$/.test(name))) return undefined;
      const own = await upstream(reference, await hostCertificates(name, [root]), options);
      return [await withScheme(own, true, options)];
    }
    const hosts = parseHostsToml(file.text, file.path).filter(({ pull }) => pull);
    return await Promise.all(hosts.map((one) => endpointOf(one, directory, reference, options)));
  };
}

/** `HOST_PORT_` is how a port is written where a colon cannot stand in a name. */
function namesOf(host: string): string[] {
  const port = /^(.+):([0-9]+)$/.exec(host);
  return [...(port === null ? [] : [`${port[1]}_${port[2]}_`]), host, "_default"];
}

async function firstDirectory(root: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if (await isDirectory(`${root}/${name}`)) return name;
  return undefined;
}

async function endpointOf(
  { origin, apiPath, pull, resolve, skipVerify, ca, client, headers }: ConfiguredHost,
  directory: string,
  reference: MirrorReference,
  options: MirrorOptions,
): Promise<Endpoint> {
  const { root, hostTls, warn } = options, [pair, ...others] = client;
  if (others.length > 0) {
    warn(
      `${directory}/hosts.toml has several client certificates for one host: only ${
        displayText(pair?.cert ?? "")
      } is used.`,
    );
  }
  // Names in the directory itself are relative; the others are those of the machine's root.
  const place = (name: string) => name.startsWith("/") ? name : `${directory.slice(root.length)}/${name}`;
  const files = { ca: ca.map(place), cert: pair && place(pair.cert), key: pair?.key && place(pair.key), skipVerify };
  const configured = saysTls(files),
    tls = configured ? await readTls(files, root, `${directory}/hosts.toml`) : undefined;
  if (origin === undefined) {
    return await withScheme({ ...await upstream(reference, tls, options), headers }, configured, options);
  }
  const { host } = new URL(origin);
  const endpoint: Endpoint = {
    origin,
    apiPath,
    repository: reference.repository,
    tags: resolve,
    digests: pull,
    query: isRegistryItself(host, reference.host) ? {} : { ns: reference.host },
    headers,
    tls: tls ?? await hostTls(host),
  };
  return await withScheme(endpoint, configured, options);
}

/** A mirror is told for which registry it is asked. */
export function isRegistryItself(host: string, named: string): boolean {
  return host === named || host === new URL(`https://${named}`).host ||
    (named === "docker.io" && host === "registry-1.docker.io");
}
