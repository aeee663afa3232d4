/**
 * HTTPS without looking at the server's certificate, for hosts that the operator named as insecure. The runtime's `fetch` can do
 * that for all hosts or none; its module for Node's programs can for one connection.
 */
import type { TlsSettings } from "../formats/endpoint.ts";
import type { Proxy } from "../formats/proxy.ts";

type IncomingMessage = import("node:http").IncomingMessage;
type Socket = import("node:net").Socket;

export async function fetchUnverified(
  url: URL,
  init: RequestInit,
  tls: TlsSettings,
  proxy: Proxy | undefined,
): Promise<Response> {
  const [http, https, { connect }] = await Promise.all([import("node:http"), import("node:https"), import("node:tls")]);
  const signal = init.signal ?? undefined;
  const headers = Object.fromEntries(new Headers(init.headers));
  const port = Number(url.port || 443), host = url.hostname.replace(/^\[|\]$/g, "");
  const common = { method: init.method ?? "GET", path: url.pathname + url.search, signal };
  const identity = { cert: tls.cert, key: tls.key, rejectUnauthorized: false };
  let request;
  if (proxy === undefined) {
    request = https.request({ ...common, ...identity, host, port, headers, agent: false });
  } else {
    const tunnel = await openTunnel(proxy, `${url.hostname}:${port}`, signal);
    // An address is no server name (RFC 6066, section 3).
    const named = /^[0-9.]+$|:/.test(host) ? {} : { servername: host };
    const secured = connect({ ...identity, ...named, socket: tunnel });
    await secureConnection(secured, tunnel, signal);
    request = http.request({
      ...common,
      host,
      headers: { ...headers, Host: url.host },
      createConnection: () => secured,
    });
  }
  const answered = request;
  // The listeners for errors stay: one that comes later reaches the body's reader too, and must not end the program here.
  try {
    return asResponse(
      await outcome<IncomingMessage>(signal, (resolve, reject) => {
        answered.once("response", resolve);
        answered.on("error", reject);
        answered.once("upgrade", (_, socket) => {
          socket.destroy();
          reject(new Error("it wants to speak another protocol"));
        });
        answered.end(typeof init.body === "string" ? init.body : undefined);
      }),
    );
  } catch (thrown) {
    // Also behind a status or a header that no answer may have.
    answered.destroy();
    throw thrown;
  }
}

/** Waits for the handshake: nothing else looks at the tunnel yet, neither at its end nor at the signal. */
async function secureConnection(secured: Socket, tunnel: Socket, signal: AbortSignal | undefined): Promise<void> {
  try {
    await outcome<void>(signal, (resolve, reject) => {
      secured.once("secureConnect", resolve);
      secured.on("error", reject);
      for (const socket of [secured, tunnel]) socket.once("close", () => reject(new Error("connection closed")));
    });
  } catch (thrown) {
    secured.destroy();
    tunnel.destroy();
    throw thrown;
  }
}

/** What `begin` comes to, or the signal's reason. The runtime's own listening to signals ends where a connection is handed over. */
async function outcome<T>(
  signal: AbortSignal | undefined,
  begin: (resolve: (value: T) => void, reject: (reason: unknown) => void) => void,
): Promise<T> {
  let stop = () => {};
  try {
    return await new Promise<T>((resolve, reject) => {
      stop = () => reject(signal?.reason);
      signal?.addEventListener("abort", stop);
      // First, for it listens to errors: one that nobody hears ends the program.
      begin(resolve, reject);
      signal?.throwIfAborted();
    });
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** A connection to `authority` through the proxy: RFC 9110, section 9.3.6. */
async function openTunnel(proxy: Proxy, authority: string, signal: AbortSignal | undefined): Promise<Socket> {
  const target = new URL(proxy.url);
  if (target.protocol !== "http:") {
    throw new Error("a host whose certificate is not verified is reached through http:// proxies only");
  }
  const { request } = await import("node:http");
  const login = `${proxy.username}:${proxy.password}`;
  const bytes = new TextEncoder().encode(login);
  const authorization = { "Proxy-Authorization": `Basic ${btoa(String.fromCharCode(...bytes))}` };
  return await outcome<Socket>(signal, (resolve, reject) => {
    const asking = request({
      host: target.hostname.replace(/^\[|\]$/g, ""),
      port: Number(target.port || 80),
      method: "CONNECT",
      path: authority,
      headers: { Host: authority, ...(login !== ":" && authorization) },
      agent: false,
      signal,
    });
    asking.once("connect", ({ statusCode }, socket) => {
      socket.on("error", reject);
      if (statusCode === 200) return resolve(socket as Socket);
      socket.destroy();
      reject(new Error(statusCode === 407 ? "proxy authentication required" : `the proxy answered ${statusCode}`));
    });
    asking.on("error", reject);
    asking.end();
  });
}

function asResponse(message: IncomingMessage): Response {
  const headers = new Headers();
  for (let i = 0; i + 1 < message.rawHeaders.length; i += 2) {
    headers.append(message.rawHeaders[i] ?? "", message.rawHeaders[i + 1] ?? "");
  }
  const status = message.statusCode ?? 0;
  // These have no body, and the class refuses one.
  if ([101, 204, 205, 304].includes(status)) {
    message.resume();
    return new Response(null, { status, headers });
  }
  const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done === true) controller.close();
      // A view of what may be a pooled buffer of the runtime's: it is handed on, never kept.
      else controller.enqueue(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    },
    cancel() {
      message.destroy();
    },
  }, { highWaterMark: 0 });
  return new Response(body, { status, headers });
}
