/** The program's registry client, pointed at a fake registry. */
import type { CosEvent } from "../../lib/base/events.ts";
import type { Endpoint } from "../../lib/formats/endpoint.ts";
import type { CredentialLookup } from "../../lib/oci/auth.ts";
import { registryEndpoint } from "../../lib/oci/endpoint.ts";
import { RegistrySource } from "../../lib/oci/registry.ts";
import { parseReference, type RegistryReference } from "../../lib/formats/reference.ts";
import type { Descriptor } from "../../lib/formats/manifest.ts";
import type { System } from "../../lib/system/system.ts";
import { collect } from "./expect.ts";
import { concat } from "./tar-writer.ts";

export interface PullOptions {
  credentials?: CredentialLookup;
  /** Milliseconds. */
  stallLimit?: number;
  fetch?: System["fetch"];
  plainHttp?: boolean;
  /** Where to pull from; the registry of the reference otherwise. */
  endpoints?: readonly Endpoint[];
  clock?: TestClock;
  events?: CosEvent[];
}

export const LOGIN = { username: "user", password: "pass:word" };
/** `user:pass:word` */
export const LOGIN_HEADER = "Basic dXNlcjpwYXNzOndvcmQ=";

/** A clock that stands still, but for those who wait by it: they wait no time at all, and it goes on by what they wanted. */
export class TestClock {
  /** What was waited for, in milliseconds. */
  readonly waits: number[] = [];

  constructor(public time = Date.UTC(2026, 10, 25, 12)) {}

  readonly now = () => this.time;
  readonly wait = (milliseconds: number, signal?: AbortSignal): Promise<void> => {
    signal?.throwIfAborted();
    this.waits.push(milliseconds);
    this.time += milliseconds;
    return Promise.resolve();
  };
  /** The waits in whole seconds: what was added at random is left out. */
  get seconds(): number[] {
    return this.waits.map((milliseconds) => Math.floor(milliseconds / 1000));
  }
}

export function referenceOf(text: string): RegistryReference {
  const parsed = parseReference(text);
  if (parsed.kind !== "registry") throw new Error(`${text} is in no registry`);
  return parsed;
}

export function sourceOf(reference: string, options: PullOptions = {}): RegistrySource {
  const parsed = referenceOf(reference), { plainHttp = false, clock = new TestClock(), events } = options;
  const system = { fetch: options.fetch ?? fetch, now: clock.now, wait: clock.wait };
  return new RegistrySource(parsed, system, {
    endpoints: options.endpoints ?? [registryEndpoint(parsed, { plainHttp })],
    credentials: options.credentials ?? (() => Promise.resolve(undefined)),
    userAgent: "cos-test/1",
    events: (event) => events?.push(event),
    ...(options.stallLimit !== undefined && { stallLimit: options.stallLimit }),
  });
}

/** An endpoint as a configuration may name it. */
export function endpointOf(host: string, repository: string, rest: Partial<Endpoint> = {}): Endpoint {
  return { ...registryEndpoint({ host, repository }, { plainHttp: false }), ...rest };
}

/** The texts of all events of a kind. */
export function textsOf(events: readonly CosEvent[], kind: "warning" | "wait"): string[] {
  return events.flatMap((event) => event.kind === kind ? [(event as { text: string }).text] : []);
}

/** Blob descriptors of the lab are plain objects. */
export function asDescriptor(descriptor: { digest: string; size: number; mediaType?: string }): Descriptor {
  return descriptor as Descriptor;
}

export async function readBlob(
  source: RegistrySource,
  descriptor: { digest: string; size: number; mediaType?: string; urls?: string[] },
  signal?: AbortSignal,
): Promise<string> {
  return new TextDecoder().decode(concat(await collect(source.blob(asDescriptor(descriptor), signal))));
}
