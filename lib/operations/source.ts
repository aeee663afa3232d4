/** From what the operator named to something that can be installed. */
import type { Events } from "../base/events.ts";
import type { Endpoint, TlsSettings } from "../formats/endpoint.ts";
import {
  type DirectoryReference,
  formatReference,
  type ImageReference,
  type RegistryReference,
} from "../formats/reference.ts";
import { type MachinePlatform, platformOf } from "../formats/platform.ts";
import { x86Level } from "../formats/cpuinfo.ts";
import { readTextFile } from "../machine/files.ts";
import type { CredentialLookup } from "../oci/auth.ts";
import { registryEndpoint } from "../oci/endpoint.ts";
import { DockerArchiveSource } from "../oci/docker-archive.ts";
import { LayoutSource } from "../oci/layout.ts";
import { OciArchiveSource } from "../oci/oci-archive.ts";
import { type ResolvedImage, resolveImage } from "../oci/pull.ts";
import { RegistrySource } from "../oci/registry.ts";
import type { ImageSource } from "../oci/source.ts";
import type { System } from "../system/system.ts";
import { decompress } from "../unpack/decompress.ts";
import type { Source } from "./install-image.ts";
import type { OwnTree } from "./own-tree.ts";

export interface SourceSettings {
  image: ImageReference;
  /** This program's own tree, where `image` is that directory. */
  own?: OwnTree;
  credentials: CredentialLookup;
  /** Speak to the registry itself without TLS. */
  plainHttp: boolean;
  userAgent: string;
  /** Certificates for a host (with port), where the machine has some for it. */
  hostTls?: (host: string) => Promise<TlsSettings>;
  /**
   * Where a configuration says that the image is fetched from, in order, the registry itself included where it is to be asked;
   * undefined: it says nothing, and the registry itself is asked.
   */
  mirrors?: (reference: RegistryReference) => Promise<readonly Endpoint[] | undefined>;
  /** Told of waits and of mirrors that are passed over. */
  events?: Events;
}

export async function resolveSource(system: System, settings: SourceSettings, signal: AbortSignal): Promise<Source> {
  const { image: reference } = settings, name = formatReference(reference);
  if (reference.kind === "directory") {
    return { kind: "directory", reference, name: settings.own?.name ?? name, own: settings.own };
  }
  const source = await sourceOf(reference, system, settings);
  return { kind: "image", image: await resolveImage(source, thisPlatform(), signal), name };
}

async function sourceOf(
  reference: Exclude<ImageReference, DirectoryReference>,
  system: System,
  settings: SourceSettings,
): Promise<ImageSource> {
  switch (reference.kind) {
    case "layout":
      return new LayoutSource(reference);
    case "oci-archive":
      return new OciArchiveSource(reference, decompress);
    case "docker-archive":
      return new DockerArchiveSource(reference, decompress);
    case "registry":
      return new RegistrySource(reference, system, {
        ...settings,
        endpoints: await endpointsOf(reference, settings),
      });
  }
}

async function endpointsOf(reference: RegistryReference, settings: SourceSettings): Promise<readonly Endpoint[]> {
  const configured = await settings.mirrors?.(reference);
  if (configured !== undefined && configured.length > 0) return configured;
  const tls = await settings.hostTls?.(reference.host);
  return [registryEndpoint(reference, { plainHttp: settings.plainHttp, tls })];
}

function thisPlatform(): MachinePlatform {
  return platformOf(Deno.build.arch, () => x86Level(readTextFile("/proc/cpuinfo") ?? ""));
}

/** Undefined for a directory. */
export function resolvedImage(source: Source): ResolvedImage | undefined {
  return source.kind === "image" ? source.image : undefined;
}
