/**
 * Where a configuration of this machine says that a repository is fetched from. In the order of docs/registries.md, and only the
 * first kind that says something about the reference counts: to mix them would ask hosts that no other tool asks.
 */
import type { Endpoint, TlsSettings } from "../formats/endpoint.ts";
import type { RegistryReference } from "../formats/reference.ts";
import type { System } from "../system/system.ts";
import type { Environment } from "./environment.ts";
import { isDirectory, listOptional, type OtherRoot } from "./files.ts";
import { readFiles, unreadable } from "./mirror-files.ts";

export type MirrorReference = Pick<RegistryReference, "host" | "repository" | "tag" | "digest">;

export interface MirrorOptions {
  /** Where the machine's own `/` is, without a slash at its end; empty where we run on it directly. */
  root: string;
  env: Environment;
  /** The registry itself is spoken to without TLS, because the operator says so. */
  plainHttp: boolean;
  /** Certificates for a host, where the configuration of mirrors has none for it. */
  hostTls(host: string): Promise<TlsSettings>;
  /** To find out whether a host speaks TLS, where a configuration allows both. */
  fetch: System["fetch"];
  warn(text: string): void;
  /** Asked where nothing here says anything of a reference. */
  elsewhere?: OtherRoot;
}

/** One kind of configuration: undefined where it says nothing about the reference. */
export type MirrorKind = (reference: MirrorReference, options: MirrorOptions) => Promise<Endpoint[] | undefined>;

/**
 * The endpoints in the order in which they are asked, the registry itself included where it is to be asked; undefined where no
 * configuration says anything. Throws `CONFIGURATION`, `BLOCKED`.
 */
export function mirrorLookup(options: MirrorOptions) {
  return async (reference: MirrorReference): Promise<readonly Endpoint[] | undefined> => {
    const here = await endpointsBelow(options, reference);
    // What the environment names is this root's.
    const env = () => undefined;
    return here ?? await options.elsewhere?.((root) => endpointsBelow({ ...options, root, env }, reference));
  };
}

async function endpointsBelow(options: MirrorOptions, reference: MirrorReference): Promise<Endpoint[] | undefined> {
  for (const kind of [own, containers, containerd, k3s]) {
    const found = await (await kind(options))?.(reference, options);
    if (found !== undefined) return found;
  }
  return undefined;
}

// Each kind's parser costs time at every start: it is loaded where there is a file for it.

async function own({ root }: MirrorOptions): Promise<MirrorKind | undefined> {
  const files = await readFiles([`${root}/etc/cos/registries.conf`]);
  return files.length === 0 ? undefined : (await import("./containers-mirrors.ts")).containersMirrors(files);
}

async function containers({ root, env }: MirrorOptions): Promise<MirrorKind | undefined> {
  const directory = `${root}/etc/containers/registries.conf.d`, named = env("CONTAINERS_REGISTRIES_CONF") || undefined;
  const dropIns = (await listOptional(directory)).filter((name) => name.endsWith(".conf"));
  const files = await readFiles([
    named ?? `${root}/etc/containers/registries.conf`,
    ...dropIns.map((name) => `${directory}/${name}`),
  ]);
  if (named !== undefined && files[0]?.path !== named) {
    throw unreadable(named, "it is what CONTAINERS_REGISTRIES_CONF names, and does not exist");
  }
  return files.length === 0 ? undefined : (await import("./containers-mirrors.ts")).containersMirrors(files);
}

async function containerd({ root }: MirrorOptions): Promise<MirrorKind | undefined> {
  const directory = `${root}/etc/containerd/certs.d`;
  if (!await isDirectory(directory)) return undefined;
  return (await import("./containerd-mirrors.ts")).containerdMirrors(directory);
}

async function k3s({ root }: MirrorOptions): Promise<MirrorKind | undefined> {
  const files = await readFiles(["k3s", "rke2"].map((name) => `${root}/etc/rancher/${name}/registries.yaml`));
  return files.length === 0 ? undefined : (await import("./k3s-mirrors.ts")).k3sMirrors(files);
}
