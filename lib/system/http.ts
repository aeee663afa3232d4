/**
 * HTTP by the rules that other tools on the machine follow: proxies as Go's programs choose them, the system's own CAs, client
 * certificates. The runtime's `fetch` knows none of that by itself.
 */
import type { TlsSettings } from "../formats/endpoint.ts";
import type { Proxy, ProxyRules } from "../formats/proxy.ts";

export interface HttpSettings {
  proxy: ProxyRules;
  /** PEM texts of CAs that are trusted besides the runtime's (Mozilla's). Asked once, at the first connection with TLS. */
  roots(): Promise<readonly string[]>;
  /**
   * Runs the action while the environment names no proxy. The runtime reads the variables when a client is made, and follows
   * rules of its own (it proxies loopback, and does not know ports in `NO_PROXY`).
   */
  withoutProxyVariables<T>(action: () => T): T;
}

/** A connection that failed on its way through a proxy, or at it. The cause says how. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  /** @param proxy its address, without a password. */
  constructor(readonly proxy: string, cause: unknown) {
    super(`through the proxy ${proxy}`, { cause });
  }
}

export class RealHttp implements Disposable {
  readonly #settings: HttpSettings;
  readonly #clients = new Map<string, Deno.HttpClient>();
  #roots: Promise<readonly string[]> | undefined;

  constructor(settings: HttpSettings) {
    this.#settings = settings;
  }

  /** Like `fetch`; redirects must be the caller's to follow, for each may need other settings. */
  async fetch(url: string, init: RequestInit = {}, tls: TlsSettings = { ca: [] }): Promise<Response> {
    const target = new URL(url), proxy = this.#settings.proxy(target);
    try {
      if (tls.skipVerify === true && target.protocol === "https:") {
        const { fetchUnverified } = await import("./http-unverified.ts");
        return await fetchUnverified(target, init, tls, proxy);
      }
      const client = await this.#client(target.protocol === "https:" ? tls : { ca: [] }, proxy, target);
      const response = await fetch(url, { ...init, client } as RequestInit);
      if (proxy !== undefined && response.status === 407) {
        await response.body?.cancel();
        throw new Error("proxy authentication required");
      }
      return response;
    } catch (thrown) {
      init.signal?.throwIfAborted();
      if (proxy === undefined || !isConnectionFault(thrown)) throw thrown;
      throw new ProxyError(proxy.url, thrown);
    }
  }

  /** Closes all connections. The program need not: they end with it. */
  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #client(tls: TlsSettings, proxy: Proxy | undefined, { protocol }: URL): Promise<Deno.HttpClient> {
    const { cert, key } = tls, name = JSON.stringify([protocol, tls.ca, cert, key, proxy]);
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const caCerts = protocol === "https:" ? [...await (this.#roots ??= this.#settings.roots()), ...tls.ca] : [];
    const options = {
      caCerts,
      ...(cert !== undefined && key !== undefined && { cert, key }),
      ...(proxy !== undefined && { proxy: transport(proxy) }),
    };
    // No await between here and the entry: two at once would make two, and one would never be closed.
    const client = this.#clients.get(name) ??
      this.#settings.withoutProxyVariables(() => Deno.createHttpClient(options));
    this.#clients.set(name, client);
    return client;
  }
}

function transport({ url, socks, username, password }: Proxy): Deno.Proxy {
  return {
    ...(socks && { transport: "socks5" as const }),
    url,
    ...((username !== "" || password !== "") && { basicAuth: { username, password } }),
  };
}

/** What the server itself says (its certificate is not trusted) is not the proxy's fault. */
function isConnectionFault(thrown: unknown): boolean {
  const { message = "", cause } = thrown instanceof Error ? thrown : {} as { message?: string; cause?: unknown };
  const text = `${message} ${cause instanceof Error ? cause.message : ""}`;
  return !/certificate/i.test(text);
}
