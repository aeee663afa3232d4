/** The program's registry client, pointed at a fake registry. */
import type { CredentialLookup } from "../../lib/oci/auth.ts";
import { RegistrySource } from "../../lib/oci/registry.ts";
import { parseReference } from "../../lib/formats/reference.ts";
import type { Descriptor } from "../../lib/formats/manifest.ts";
import { collect } from "./expect.ts";
import { concat } from "./tar-writer.ts";

export interface PullOptions {
  credentials?: CredentialLookup;
  /** Milliseconds. */
  stallLimit?: number;
  fetch?: typeof fetch;
  plainHttp?: boolean;
}

export const LOGIN = { username: "user", password: "pass:word" };
/** `user:pass:word` */
export const LOGIN_HEADER = "Basic dXNlcjpwYXNzOndvcmQ=";

export function sourceOf(reference: string, options: PullOptions = {}): RegistrySource {
  const parsed = parseReference(reference);
  if (parsed.kind !== "registry") throw new Error(`${reference} is in no registry`);
  return new RegistrySource(parsed, { fetch: options.fetch ?? fetch, now: Date.now }, {
    credentials: options.credentials ?? (() => Promise.resolve(undefined)),
    plainHttp: options.plainHttp ?? false,
    userAgent: "cos-test/1",
    ...(options.stallLimit !== undefined && { stallLimit: options.stallLimit }),
  });
}

/** Blob descriptors of the lab are plain objects. */
export function asDescriptor(descriptor: { digest: string; size: number; mediaType?: string }): Descriptor {
  return descriptor as Descriptor;
}

export async function readBlob(
  source: RegistrySource,
  descriptor: { digest: string; size: number },
  signal?: AbortSignal,
): Promise<string> {
  return new TextDecoder().decode(concat(await collect(source.blob(asDescriptor(descriptor), signal))));
}
