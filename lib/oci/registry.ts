/** A registry, spoken to over HTTP: OCI distribution-spec 1.1, "Pull". */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { Digest } from "../base/digest.ts";
import { type Descriptor, MAX_MANIFEST, MEDIA_TYPES } from "../formats/manifest.ts";
import { formatReference, type RegistryReference } from "../formats/reference.ts";
import type { System } from "../system/system.ts";
import { basicHeader, type Challenge, type CredentialLookup, type Credentials, parseChallenges } from "./auth.ts";
import type { FetchedManifest, ImageSource } from "./source.ts";

export interface RegistryOptions {
  credentials: CredentialLookup;
  /** Speak HTTP without TLS, because the operator said so. Loopback addresses need no word: nobody can listen there. */
  plainHttp: boolean;
  userAgent: string;
  /** A connection that brings nothing for so long is given up. Milliseconds; 30 s unless a test cannot wait. */
  stallLimit?: number;
}

/** Limit of token and error bodies (containers/image). Bytes. */
const MAX_SMALL_BODY = 1024 * 1024;
const MAX_REDIRECTS = 10;
const STALL_LIMIT = 30_000;
/** A blob's download is taken up again so often, as long as each try brings something. */
const MAX_TRIES = 5;

/** All four, since registries hide a manifest whose type the client does not accept (docker-registry 2.8 says 404). */
const ACCEPT = Object.values(MEDIA_TYPES).join(", ");

export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #reference: RegistryReference;
  readonly #system: Pick<System, "fetch" | "now">;
  readonly #options: RegistryOptions;
  readonly #base: string;
  readonly #stallLimit: number;
  #authorization: string | undefined;
  #credentials: Promise<Credentials | undefined> | undefined;

  constructor(reference: RegistryReference, system: Pick<System, "fetch" | "now">, options: RegistryOptions) {
    this.name = formatReference(reference);
    this.#reference = reference;
    this.#system = system;
    this.#options = options;
    this.#stallLimit = options.stallLimit ?? STALL_LIMIT;
    const host = reference.host === "docker.io" ? "registry-1.docker.io" : reference.host;
    const scheme = options.plainHttp || isLoopback(host) ? "http" : "https";
    this.#base = `${scheme}://${host}/v2/${reference.repository}`;
  }

  async top(signal?: AbortSignal): Promise<FetchedManifest & { expected?: Digest }> {
    const { digest, tag } = this.#reference;
    // With both, the digest says what is meant, and the tag is for people.
    return { ...await this.#manifest(digest ?? tag ?? "latest", signal), expected: digest };
  }

  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<FetchedManifest> {
    return this.#manifest(descriptor.digest, signal);
  }

  async #manifest(reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    const response = await this.#get(`${this.#base}/manifests/${reference}`, { Accept: ACCEPT }, signal);
    if (response.status !== 200) throw await this.#failure(response, "manifest");
    return {
      bytes: await this.#readAll(response, MAX_MANIFEST, `the manifest of ${this.name}`),
      mediaType: response.headers.get("content-type") ?? undefined,
    };
  }

  async *blob(descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const url = `${this.#base}/blobs/${descriptor.digest}`;
    let done = 0;
    for (let tries = 1;; tries++) {
      const start = done;
      try {
        const headers: Record<string, string> = start > 0 ? { Range: `bytes=${start}-` } : {};
        const response = await this.#get(url, headers, signal);
        if (response.status !== 200 && response.status !== 206) throw await this.#failure(response, "blob");
        // A registry that ignores the range sends everything again.
        let skip = start > 0 && response.status === 200 ? start : 0;
        if (response.status === 206 && !rangeStartsAt(response, start)) {
          throw this.#error(
            "REGISTRY_ERROR",
            `the registry answered a request for the bytes from ${start} with others`,
          );
        }
        for await (const chunk of bodyChunks(response, this.#stallLimit, signal)) {
          const useful = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.length));
          skip -= Math.min(skip, chunk.length);
          if (useful.length === 0) continue;
          done += useful.length;
          yield useful;
          if (done > descriptor.size) return; // the caller knows the size too, and says what is wrong
        }
        if (done >= descriptor.size) return;
        throw this.#error(
          "REGISTRY_UNREACHABLE",
          `the registry closed the connection ${descriptor.size - done} bytes early`,
        );
      } catch (thrown) {
        signal?.throwIfAborted();
        if (thrown instanceof CosError && thrown.code !== "REGISTRY_UNREACHABLE") throw thrown;
        // What came before the break is kept: the digest goes on over it.
        if (done === start && tries >= MAX_TRIES) throw thrown;
        if (done > start) tries = 1;
      }
    }
  }

  /** A GET with authentication and redirects; any status but the registry's own 401 is the caller's to judge. */
  async #get(url: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
    const ask = () => this.#follow(url, headers, this.#authorization, signal);
    // Where a redirect led may ask for a login too, and name its own token server: it must not get the registry's.
    const refused = ({ status, url: from }: Response) => status === 401 && new URL(from).origin === new URL(url).origin;
    let response = await ask();
    if (!refused(response)) return response;
    const header = response.headers.get("www-authenticate") ?? "";
    const said = await this.#serverMessage(response);
    await this.#authenticate(parseChallenges(header), said, signal);
    response = await ask();
    if (!refused(response)) return response;
    throw this.#unauthorized(await this.#serverMessage(response));
  }

  /**
   * Redirects are followed by hand. Storage behind a registry is reached by URLs that are signed themselves: it must never see
   * the registry's credentials (and S3 answers 400 if it does).
   */
  async #follow(
    url: string,
    headers: Record<string, string>,
    authorization: string | undefined,
    signal?: AbortSignal,
  ): Promise<Response> {
    let target = new URL(url);
    const { origin } = target;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const all = new Headers({ "User-Agent": this.#options.userAgent, "Accept-Encoding": "identity", ...headers });
      if (authorization !== undefined && target.origin === origin) all.set("Authorization", authorization);
      const response = await this.#fetch(target, { headers: all, redirect: "manual" }, signal);
      const location = response.headers.get("location");
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
      await response.body?.cancel();
      const next = URL.parse(location, target);
      if (next === null) {
        throw this.#error("REGISTRY_ERROR", `the registry redirects to "${displayText(location)}", which is no URL`);
      }
      if (next.protocol !== "https:" && (next.protocol !== "http:" || target.protocol === "https:")) {
        throw this.#error(
          "REGISTRY_ERROR",
          `the registry redirects to ${next.protocol}//${next.host}, which is not encrypted`,
        );
      }
      target = next;
    }
    throw this.#error("REGISTRY_ERROR", `the registry redirects more than ${MAX_REDIRECTS} times`);
  }

  async #fetch(url: URL, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    // The limit is for the answer's head alone: a signal of fetch's that comes later would break the body off as well.
    const stalled = new AbortController(), timer = setTimeout(() => stalled.abort(), this.#stallLimit);
    try {
      return await this.#system.fetch(url.href, {
        ...init,
        signal: signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const why = stalled.signal.aborted ? `did not answer within ${this.#stallLimit / 1000} seconds` : reason(cause);
      throw new CosError("REGISTRY_UNREACHABLE", `Cannot reach the registry ${url.host}: it ${why}.`, {
        hint:
          "Check the network, the registry's name, a proxy (HTTPS_PROXY) and that the registry runs; then run it again.",
        cause,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  async #authenticate(challenges: readonly Challenge[], said: string, signal?: AbortSignal): Promise<void> {
    const { host, repository } = this.#reference;
    this.#credentials ??= this.#options.credentials(host, repository);
    const credentials = await this.#credentials;
    const bearer = challenges.find((c) => c.scheme === "bearer");
    const realm = bearer?.parameters.get("realm");
    if (bearer !== undefined && realm !== undefined) {
      this.#authorization = `Bearer ${await this.#token(realm, bearer, credentials, said, signal)}`;
    } else if (challenges.some((c) => c.scheme === "basic") && credentials !== undefined) {
      this.#authorization = basicHeader(credentials);
    } else throw this.#unauthorized(said);
  }

  async #token(
    realm: string,
    { parameters }: Challenge,
    credentials: Credentials | undefined,
    said: string,
    signal?: AbortSignal,
  ): Promise<string> {
    const url = URL.parse(realm);
    if (url === null || !["https:", "http:"].includes(url.protocol)) {
      throw this.#error("REGISTRY_ERROR", `the registry names "${displayText(realm)}" as its token server`);
    }
    if (url.protocol !== "https:" && !this.#base.startsWith("http:")) {
      throw this.#error(
        "REGISTRY_ERROR",
        `the registry names ${url.protocol}//${url.host} as its token server, which is not encrypted`,
      );
    }
    const service = parameters.get("service");
    if (service !== undefined) url.searchParams.set("service", service);
    url.searchParams.set("scope", parameters.get("scope") ?? `repository:${this.#reference.repository}:pull`);
    const login = credentials === undefined ? undefined : basicHeader(credentials);
    const response = await this.#follow(url.href, { Accept: "application/json" }, login, signal);
    if (response.status === 401 || response.status === 403) {
      throw this.#unauthorized(await this.#serverMessage(response) || said);
    }
    if (response.status !== 200) throw await this.#failure(response, "token");
    const bytes = await this.#readAll(response, MAX_SMALL_BODY, "the token server's answer");
    const answer = parseObject(bytes);
    const token = answer?.token ?? answer?.access_token;
    // What no header can hold is no token either.
    if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
      throw this.#error("REGISTRY_ERROR", "the token server answered without a token");
    }
    return token;
  }

  async #failure(response: Response, what: "manifest" | "blob" | "token"): Promise<CosError> {
    const said = await this.#serverMessage(response), words = said === "" ? "" : `: ${said}`;
    const { status } = response;
    if (status === 404 && what === "manifest") {
      return new CosError("IMAGE_NOT_FOUND", `Cannot find ${this.name}: the registry has no such image.`, {
        hint: "Check the repository's name and the tag; some registries say this too where a login is needed.",
      });
    }
    if (status === 403) return this.#unauthorized(said);
    if (status === 404) return this.#error("REGISTRY_ERROR", `the registry lost a ${what} that the image needs`);
    return this.#error(
      "REGISTRY_ERROR",
      `the registry answered the request for a ${what} with status ${status}${words}`,
    );
  }

  async #readAll(response: Response, most: number, what: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of bodyChunks(response, this.#stallLimit)) {
      size += chunk.length;
      if (size > most) {
        throw new CosError("REGISTRY_ERROR", `Refused ${what}: it is longer than ${most} bytes.`, {
          hint: "No honest registry sends so much here; ask whoever runs it.",
        });
      }
      parts.push(chunk);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** The first error that a registry's body names (distribution-spec, "Error codes"), on one line and cut short; else empty. */
  async #serverMessage(response: Response): Promise<string> {
    let answer: Record<string, unknown> | undefined;
    try {
      answer = parseObject(await this.#readAll(response, MAX_SMALL_BODY, "the registry's error"));
    } catch (thrown) {
      // The status is what counts; the words are an extra, and a broken body must not hide it.
      if (!(thrown instanceof CosError)) throw thrown;
    }
    const errors = answer?.errors, first: unknown = Array.isArray(errors) ? errors[0] : undefined;
    const text = (typeof first === "object" && first !== null && "message" in first ? first.message : undefined) ??
      answer?.details ?? answer?.message;
    return typeof text === "string" ? displayText(text.replace(/\s+/g, " ").trim()) : "";
  }

  #unauthorized(said: string): CosError {
    const words = said === "" ? "" : ` (it says: ${said})`;
    return new CosError("UNAUTHORIZED", `Cannot read ${this.name}: the registry refuses access${words}.`, {
      hint:
        `Put a login for ${this.#reference.host} into /etc/cos/auth.json or ~/.docker/config.json, or check that it may read this repository.`,
    });
  }

  #error(code: "REGISTRY_ERROR" | "REGISTRY_UNREACHABLE", why: string, cause?: unknown): CosError {
    return new CosError(code, `Cannot pull ${this.name}: ${why}.`, {
      hint: "Try again; if it stays so, ask whoever runs the registry.",
      cause,
    });
  }
}

function isLoopback(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(?:\.[0-9]{1,3}){3}$/.test(name);
}

/** What of a failed connection tells people something. */
function reason(cause: unknown): string {
  let text = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof Error && cause.cause instanceof Error) text += `: ${cause.cause.message}`;
  if (/refused/i.test(text)) return "refuses connections";
  if (/dns|lookup|resolve/i.test(text)) return "has a name that cannot be looked up";
  if (/certificate|tls|UnknownIssuer/i.test(text)) return `has no certificate that this machine trusts (${text})`;
  return `cannot be spoken to (${text})`;
}

function rangeStartsAt(response: Response, offset: number): boolean {
  return /^bytes ([0-9]+)-/.exec(response.headers.get("content-range") ?? "")?.[1] === String(offset);
}

/** A body's pieces; throws `REGISTRY_UNREACHABLE` where it stalls or breaks. */
async function* bodyChunks(response: Response, limit: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  const { host } = new URL(response.url);
  try {
    for (;;) {
      signal?.throwIfAborted();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stall = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`it sent nothing for ${limit / 1000} seconds`)), limit);
      });
      const abort = abortion(signal);
      try {
        const { done, value } = await Promise.race([
          reader.read(),
          stall,
          ...(abort === undefined ? [] : [abort.promise]),
        ]);
        if (done) return;
        yield value;
      } finally {
        clearTimeout(timer);
        abort?.release();
      }
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof CosError) throw cause;
    throw new CosError(
      "REGISTRY_UNREACHABLE",
      `The connection to ${host} broke: ${cause instanceof Error ? cause.message : cause}.`,
      {
        hint: "Check the network and run it again: what was there before is not touched.",
        cause,
      },
    );
  } finally {
    // Frees the connection wherever the reading stopped; a body that broke has nothing left to cancel.
    await reader.cancel().catch(() => undefined);
  }
}

function abortion(signal: AbortSignal | undefined): { promise: Promise<never>; release(): void } | undefined {
  if (signal === undefined) return undefined;
  let listener: () => void = () => {};
  const promise = new Promise<never>((_, reject) => {
    listener = () => reject(signal.reason);
    signal.addEventListener("abort", listener);
  });
  return { promise, release: () => signal.removeEventListener("abort", listener) };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined;
    throw cause;
  }
}
