/** A registry, spoken to over HTTP: OCI distribution-spec 1.1, "Pull"; its mirrors first, where there are some. */
import { CosError } from "../base/errors.ts";
import type { Digest } from "../base/digest.ts";
import type { Events } from "../base/events.ts";
import type { Endpoint } from "../formats/endpoint.ts";
import { type Descriptor, MAX_MANIFEST, MEDIA_TYPES, parseManifest } from "../formats/manifest.ts";
import { formatReference, type RegistryReference } from "../formats/reference.ts";
import type { System } from "../system/system.ts";
import type { CredentialLookup } from "./auth.ts";
import { download, endpointPlace, foreignPlaces, isDown, type Place } from "./blob.ts";
import { readAll } from "./body.ts";
import { EndpointClient } from "./client.ts";
import { type FetchedManifest, type ImageSource, MAX_REFERRERS } from "./source.ts";
import { STALL_LIMIT, Transport } from "./transport.ts";
import { digestOf, verifyBytes } from "./verified.ts";

export interface RegistryOptions {
  /** In the order in which they are asked; at least one. */
  endpoints: readonly Endpoint[];
  credentials: CredentialLookup;
  userAgent: string;
  /** Told of waits, and of endpoints that are passed over. */
  events?: Events;
  /** A connection that brings nothing for so long is given up. Milliseconds; 30 s unless a test cannot wait. */
  stallLimit?: number;
}

/** Up to here a blob is held back until its digest is proven, so that a mirror's wrong bytes can still be had elsewhere. Bytes. */
const HELD_BACK = 1024 * 1024;

/** All four, since registries hide a manifest whose type the client does not accept (docker-registry 2.8 says 404). */
const ACCEPT = Object.values(MEDIA_TYPES).join(", ");

export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #reference: RegistryReference;
  readonly #transport: Transport;
  readonly #clients: readonly EndpointClient[];
  /** The keys of those that are asked last for the rest of this run. */
  readonly #down = new Set<string>();
  /** By digest: who sent the bytes of a blob that was handed on before its digest was proven. */
  readonly #senders = new Map<Digest, Set<string>>();

  constructor(
    reference: RegistryReference,
    system: Pick<System, "fetch" | "now" | "wait">,
    { endpoints, credentials, userAgent, events = () => {}, stallLimit = STALL_LIMIT }: RegistryOptions,
  ) {
    const subject = formatReference(reference);
    this.name = subject;
    this.#reference = reference;
    this.#transport = new Transport(system, { userAgent, events, stallLimit });
    this.#clients = endpoints.map((endpoint) => {
      const who = endpoints.length === 1 ? "the registry" : new URL(endpoint.origin).host;
      return new EndpointClient(endpoint, this.#transport, { subject, who, credentials });
    });
  }

  async top(signal?: AbortSignal): Promise<FetchedManifest & { expected?: Digest }> {
    const { digest, tag } = this.#reference;
    // With both, the digest says what is meant, and the tag is for people.
    return { ...await this.#manifest(digest ?? tag ?? "latest", digest, signal), expected: digest };
  }

  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<FetchedManifest> {
    return this.#manifest(descriptor.digest, descriptor.digest, signal);
  }

  async tagged(tag: string, signal?: AbortSignal): Promise<FetchedManifest | undefined> {
    return await orNothing(() => this.#manifest(tag, undefined, signal, true));
  }

  async referrers(digest: Digest, signal?: AbortSignal): Promise<readonly Descriptor[] | undefined> {
    return await orNothing(async () => {
      const clients = this.#asked(true);
      for await (
        const found of this.#firstOf(clients, signal, (client) => this.#listed(client, digest, signal), true)
      ) {
        return found;
      }
      return undefined;
    });
  }

  /** OCI distribution-spec 1.1, "Listing Referrers". Nothing is asked for by type: registries may ignore it. */
  async *#listed(client: EndpointClient, digest: Digest, signal?: AbortSignal): AsyncGenerator<Descriptor[]> {
    const all: Descriptor[] = [], what = `the list of what belongs to ${this.name}`, seen = new Set<string>();
    const read = async (page: URLSearchParams | undefined) => {
      const answer = await client.get("referrers", digest, { Accept: MEDIA_TYPES.ociIndex }, signal, page);
      const { response, from } = answer;
      if (response.status !== 200) throw await client.failure(answer, "list", signal);
      await client.refuseEncoded(answer, "list");
      const next = nextPage(response.headers.get("link"), from);
      const bytes = await readAll(response, from.host, MAX_MANIFEST, what, this.#transport.stallLimit, signal);
      const parsed = parseManifest(bytes, undefined, what);
      if (parsed.kind !== "index") throw client.error("it sent a manifest in place of a list");
      return { manifests: parsed.index.manifests, next };
    };
    let page: URLSearchParams | undefined;
    for (;;) {
      const asked = page, { manifests, next } = await this.#transport.again(() => read(asked), signal);
      all.push(...manifests);
      if (next === undefined || all.length >= MAX_REFERRERS || seen.has(next.toString())) break;
      seen.add(next.toString());
      page = next;
    }
    yield all.slice(0, MAX_REFERRERS);
  }

  async *blob(descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const { digest, size } = descriptor, senders = this.#senders.get(digest) ?? new Set();
    const all = [
      ...this.#asked(true).map((client) => endpointPlace(client, descriptor)),
      ...foreignPlaces(descriptor, this.#transport, this.name),
    ];
    // Who asks again had no use for what came the first time: whoever sent that is asked last.
    const places = [...all.filter(({ host }) => !senders.has(host)), ...all.filter(({ host }) => senders.has(host))];
    const sending = new Set<string>(), progress = { done: 0 };
    this.#senders.set(digest, sending);
    yield* this.#firstOf(
      places,
      signal,
      async function* (this: RegistrySource, place: Place, last: boolean) {
        const bytes = download(place, descriptor, progress, this.#transport, !last, signal);
        const start = progress.done;
        if (!last && size <= HELD_BACK) {
          yield await this.#proven(bytes, descriptor, progress);
          return;
        }
        try {
          yield* bytes;
        } finally {
          if (progress.done > start) sending.add(place.host);
        }
      }.bind(this),
    );
  }

  /** Who sent the bytes of a blob, where that is not plain from the reference. */
  sentBy(digest: Digest): string | undefined {
    const senders = this.#senders.get(digest);
    return this.#clients.length === 1 || senders === undefined ? undefined : [...senders].join(" and ");
  }

  /** A small blob as a whole: other bytes than the digest names are taken back, not handed on. */
  async #proven(bytes: AsyncIterable<Uint8Array>, descriptor: Descriptor, progress: { done: number }) {
    try {
      const whole = new Uint8Array(descriptor.size);
      let at = 0;
      for await (const chunk of bytes) {
        if (at + chunk.length > whole.length) break;
        whole.set(chunk, at);
        at += chunk.length;
      }
      await verifyBytes(whole.subarray(0, at), descriptor.digest, `a blob of ${this.name}`);
      return whole;
    } catch (thrown) {
      progress.done = 0;
      throw thrown;
    }
  }

  /** @param expected its digest, where it is known before. @param optional that it is not there is no reason to warn. */
  async #manifest(
    name: string,
    expected: Digest | undefined,
    signal?: AbortSignal,
    optional = false,
  ): Promise<FetchedManifest> {
    const clients = this.#asked(expected !== undefined), what = `the manifest of ${this.name}`;
    const transport = this.#transport;
    const read = async (client: EndpointClient): Promise<FetchedManifest> => {
      const answer = await client.get("manifests", name, { Accept: ACCEPT }, signal), { response, from } = answer;
      if (response.status !== 200) throw await client.failure(answer, "manifest", signal);
      await client.refuseEncoded(answer, "manifest");
      const bytes = await readAll(response, from.host, MAX_MANIFEST, what, this.#transport.stallLimit, signal);
      if (expected !== undefined) await verifyBytes(bytes, expected, what);
      else await refuseOtherDigest(client, response.headers, bytes);
      return { bytes, mediaType: response.headers.get("content-type") ?? undefined };
    };
    for await (
      const found of this.#firstOf(clients, signal, async function* (client) {
        yield await transport.again(() => read(client), signal);
      }, optional)
    ) return found;
    throw new Error("an endpoint gives a manifest or throws");
  }

  /** The endpoints for digests, or for tags: those first that are not known to be down. */
  #asked(byDigest: boolean): EndpointClient[] {
    const able = this.#clients.filter(({ endpoint: { tags, digests } }) => byDigest ? digests : tags);
    if (able.length === 0) {
      const what = byDigest ? "digests" : "tags";
      throw new CosError("REGISTRY_ERROR", `Cannot pull ${this.name}: none of its mirrors may be asked for ${what}.`, {
        hint: "Name the image by its digest, or look at what the mirrors' configuration allows.",
      });
    }
    return [...able.filter(({ key }) => !this.#down.has(key)), ...able.filter(({ key }) => this.#down.has(key))];
  }

  /**
   * Items from the first place that has them. One that fails is passed over with a warning; the last one's error is the result,
   * and names the others.
   * @param optional what is not there is no reason to warn.
   */
  async *#firstOf<P extends Pick<Place, "host" | "key">, T>(
    places: readonly P[],
    signal: AbortSignal | undefined,
    items: (place: P, last: boolean) => AsyncGenerator<T>,
    optional = false,
  ): AsyncGenerator<T> {
    const before: CosError[] = [];
    for (const [i, place] of places.entries()) {
      const next = places[i + 1];
      try {
        yield* items(place, next === undefined);
        return;
      } catch (thrown) {
        signal?.throwIfAborted();
        if (!(thrown instanceof CosError)) throw thrown;
        if (isDown(thrown)) this.#down.add(place.key);
        if (next === undefined) throw withOthers(thrown, before);
        before.push(thrown);
        if (optional && thrown.code === "IMAGE_NOT_FOUND") continue;
        this.#transport.warn(`${thrown.message} Asking ${next.host} instead.`);
      }
    }
  }
}

/** A registry names the digest of what it sends. Where that is not so, something on the way changed it. */
async function refuseOtherDigest(client: EndpointClient, headers: Headers, bytes: Uint8Array): Promise<void> {
  const told = headers.get("docker-content-digest");
  if (told === null || !/^sha256:[0-9a-f]{64}$/.test(told)) return;
  const found = await digestOf(bytes);
  if (found !== told) throw client.error(`${client.options.who} announces the manifest ${told} and sends ${found}`);
}

async function orNothing<T>(fetch: () => Promise<T>): Promise<T | undefined> {
  try {
    return await fetch();
  } catch (thrown) {
    if (thrown instanceof CosError && thrown.code === "IMAGE_NOT_FOUND") return undefined;
    throw thrown;
  }
}

/** RFC 8288: only the query of the link is used, so that it can lead nowhere else. */
function nextPage(link: string | null, from: URL): URLSearchParams | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
  return target === undefined || !URL.canParse(target, from) ? undefined : new URL(target, from).searchParams;
}

function withOthers(error: CosError, before: readonly CosError[]): CosError {
  if (before.length === 0) return error;
  const { code, message, hint, details } = error;
  const others = before.map((other) => other.message).join(" ");
  return new CosError(code, `${message} Before that: ${others}`, { hint, details, cause: error });
}
