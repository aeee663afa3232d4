/** Hosts whose certificate is not looked at, because the operator said so: the same rules hold, by another way to the network. */
import assert from "node:assert/strict";
import { httpSettings } from "../../lib/config/http.ts";
import type { TlsSettings } from "../../lib/formats/endpoint.ts";
import { RealHttp } from "../../lib/system/http.ts";
import { makeCertificates } from "../lab/certificates.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { rejectionOf } from "../lab/expect.ts";
import { cutBody } from "../lab/fake-registry.ts";
import { startProxy } from "../lab/proxy.ts";
import { endpointOf, LOGIN_HEADER, readBlob, sourceOf, TestClock } from "../lab/pulling.ts";
import { sha256 } from "../lab/oci-layout.ts";

/** A server with a certificate that nobody knows. */
async function serve(answer: (request: Request) => Response | Promise<Response>) {
  const scratch = scratchDirectory("registry-tls");
  const { certificate, key } = await makeCertificates(scratch.path, ["registry.test"]);
  const tls = { cert: Deno.readTextFileSync(certificate), key: Deno.readTextFileSync(key) };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {}, ...tls }, answer);
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await scratch.close();
    },
  };
}

function sourceAt(
  origin: string,
  http: RealHttp,
  clock = new TestClock(),
  tls: TlsSettings = { ca: [], skipVerify: true },
) {
  return sourceOf("registry.test/os:v1", {
    fetch: (url, init, settings) => http.fetch(url, init, settings),
    endpoints: [endpointOf("registry.test", "os", { origin, tls })],
    stallLimit: 300,
    clock,
  });
}

const CONTENT = "0123456789".repeat(300_000);
const BLOB = { digest: sha256(new TextEncoder().encode(CONTENT)), size: CONTENT.length };

function ranged(request: Request, most = Infinity): Response {
  const start = Number(/[0-9]+/.exec(request.headers.get("range") ?? "")?.[0] ?? 0);
  const bytes = new TextEncoder().encode(CONTENT), part = bytes.subarray(start);
  const headers: Record<string, string> = start === 0
    ? {}
    : { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  const init = { status: start === 0 ? 200 : 206, headers };
  return part.length > most ? cutBody(part.subarray(0, most), init) : new Response(part, init);
}

Deno.test("without verifying: bodies come whole, cuts are taken up again, statuses and headers are as sent", async () => {
  const seen: string[] = [];
  await using server = await serve((request) => {
    seen.push(
      `${request.headers.get("range")} ${request.headers.get("accept-encoding")} ${request.headers.get("host")}`,
    );
    return ranged(request, 1_200_000);
  });
  using http = new RealHttp(httpSettings(() => undefined, () => {}));
  const clock = new TestClock(), host = `127.0.0.1:${server.port}`;
  assert.equal(await readBlob(sourceAt(`https://${host}`, http, clock), BLOB), CONTENT);
  assert.deepEqual(seen, [
    `null identity ${host}`,
    `bytes=1200000- identity ${host}`,
    `bytes=2400000- identity ${host}`,
  ]);
  assert.deepEqual(clock.seconds, [1, 1]);
});

Deno.test("without verifying: a server that stalls, in its head or its body, is given up", async () => {
  const held = Promise.withResolvers<Response>();
  let hold = true;
  const stalled = new ReadableStream<Uint8Array<ArrayBuffer>>({ start: (c) => c.enqueue(new Uint8Array(10)) });
  await using server = await serve((request) => {
    if (hold) return held.promise;
    return request.headers.has("range") ? ranged(request) : new Response(stalled);
  });
  using http = new RealHttp(httpSettings(() => undefined, () => {}));
  const origin = `https://127.0.0.1:${server.port}`;
  const { message } = await rejectionOf(() => sourceAt(origin, http).top());
  assert.equal(message, `Cannot reach the registry 127.0.0.1:${server.port}: it did not answer within 0.3 seconds.`);
  hold = false;
  held.resolve(new Response());
  const got = await readBlob(sourceAt(origin, http), BLOB);
  assert.equal(got.slice(10), CONTENT.slice(10));
});

Deno.test("without verifying, through a proxy: the tunnel's other end is the host; a cut is taken up again there", async () => {
  const seen: string[] = [];
  await using server = await serve((request) => {
    seen.push(`${request.headers.get("host")} ${request.headers.get("proxy-authorization")}`);
    return ranged(request, 2_000_000);
  });
  await using proxy = await startProxy({ "registry.test:443": server.port });
  proxy.wants = LOGIN_HEADER;
  const env: Record<string, string> = { HTTPS_PROXY: proxy.url.replace("//", "//user:pass%3Aword@") };
  using http = new RealHttp(httpSettings((name) => env[name], () => {}));
  assert.equal(await readBlob(sourceAt("https://registry.test", http), BLOB), CONTENT);
  assert.deepEqual(seen, ["registry.test null", "registry.test null"]);
  assert.deepEqual(proxy.seen, ["CONNECT registry.test:443", "CONNECT registry.test:443"]);
});

Deno.test("not verifying is for the named host alone: where it redirects to must show a certificate that is trusted", async () => {
  await using storage = await serve(() => new Response("never read"));
  await using server = await serve(() =>
    new Response(null, { status: 307, headers: { location: `https://localhost:${storage.port}/x` } })
  );
  using http = new RealHttp(httpSettings(() => undefined, () => {}));
  const { message } = await rejectionOf(() => sourceAt(`https://127.0.0.1:${server.port}`, http).top());
  assert.match(
    message,
    new RegExp(`^Cannot reach the registry localhost:${storage.port}: it has no certificate that this machine trusts`),
  );
});

/** A proxy that agrees to every tunnel, and does with it what the test says. */
function tunnels(done: (connection: Deno.Conn) => Promise<void> | void, hostname = "127.0.0.1") {
  const listener = Deno.listen({ port: 0, hostname }), connections: Deno.Conn[] = [];
  const asked: string[] = [];
  const accepting = (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      const buffer = new Uint8Array(4096), count = await connection.read(buffer) ?? 0;
      asked.push(new TextDecoder().decode(buffer.subarray(0, count)).split("\r\n")[0] ?? "");
      await connection.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
      await done(connection);
    }
  })();
  const { port } = listener.addr;
  return {
    asked,
    url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of connections) {
        try {
          connection.close();
        } catch (thrown) {
          if (!(thrown instanceof Deno.errors.BadResource)) throw thrown;
        }
      }
    },
  };
}

Deno.test("without verifying, through a proxy: a tunnel in which nobody speaks is given up, and a stop is heard", async () => {
  await using proxy = tunnels(() => {});
  const env: Record<string, string> = { HTTPS_PROXY: proxy.url };
  using http = new RealHttp(httpSettings((name) => env[name], () => {}));
  const { message } = await rejectionOf(() => sourceAt("https://registry.test", http).top());
  assert.equal(message, "Cannot reach the registry registry.test: it did not answer within 0.3 seconds.");
  const stop = new AbortController(), reason = new Error("stopped");
  setTimeout(() => stop.abort(reason), 50);
  await assert.rejects(sourceAt("https://registry.test", http).top(stop.signal), reason);
  for (const url of ["https://registry.test", "https://127.0.0.1:9"]) {
    const asked = http.fetch(url, { signal: stop.signal }, { ca: [], skipVerify: true });
    await assert.rejects(asked, reason);
  }
});

Deno.test("without verifying, through a proxy: a tunnel that closes, or brings something else, is an error", async () => {
  for (
    const done of [
      (connection: Deno.Conn) => connection.close(),
      async (connection: Deno.Conn) => {
        await connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
        connection.close();
      },
    ]
  ) {
    await using proxy = tunnels(done);
    const env: Record<string, string> = { HTTPS_PROXY: proxy.url };
    using http = new RealHttp(httpSettings((name) => env[name], () => {}));
    const { code, message } = await rejectionOf(() => sourceAt("https://registry.test", http).top());
    assert.equal(code, "REGISTRY_UNREACHABLE");
    assert.doesNotMatch(message, /did not answer/);
  }
});

Deno.test("without verifying: a proxy's address may be an IPv6 one", async () => {
  await using proxy = tunnels((connection) => connection.close(), "::1");
  const env: Record<string, string> = { HTTPS_PROXY: proxy.url };
  using http = new RealHttp(httpSettings((name) => env[name], () => {}));
  await rejectionOf(() => sourceAt("https://registry.test", http).top());
  assert.equal(proxy.asked[0], "CONNECT registry.test:443 HTTP/1.1");
});

Deno.test("without verifying: an answer that no program could read is an error, and its connection is closed", async () => {
  const scratch = scratchDirectory("registry-tls");
  const { certificate, key } = await makeCertificates(scratch.path, ["registry.test"]);
  const files = { cert: Deno.readTextFileSync(certificate), key: Deno.readTextFileSync(key) };
  for (
    const head of [
      "HTTP/1.1 999 Odd",
      "HTTP/1.1 200 OK\r\nX-Odd: a\x01b",
      "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade",
    ]
  ) {
    const listener = Deno.listenTls({ port: 0, hostname: "127.0.0.1", ...files }), ends: Promise<unknown>[] = [];
    const accepting = (async () => {
      for await (const connection of listener) {
        const buffer = new Uint8Array(4096);
        await connection.read(buffer);
        await connection.write(new TextEncoder().encode(`${head}\r\nContent-Length: 1000\r\n\r\nx`));
        // Ends when the other side closes.
        ends.push(connection.read(buffer).catch(() => null).then(() => connection.close()));
      }
    })();
    using http = new RealHttp(httpSettings(() => undefined, () => {}));
    const { code } = await rejectionOf(() => sourceAt(`https://127.0.0.1:${listener.addr.port}`, http).top());
    assert.ok(code === "REGISTRY_UNREACHABLE" || code === "REGISTRY_ERROR", code);
    listener.close();
    await accepting;
    await Promise.all(ends);
  }
  await scratch.close();
});
