/** Registries, mirrors and storage that mean harm, or only look like it: what they can make the program hold, send or print. */
import assert from "node:assert/strict";
import type { CosEvent } from "../../lib/base/events.ts";
import { readAll, serverMessage } from "../../lib/oci/body.ts";
import { rejectionOf, rejects } from "../lab/expect.ts";
import { challenge, cutBody, error, fakeRegistry, redirect } from "../lab/fake-registry.ts";
import { endpointOf, readBlob, sourceOf, TestClock, textsOf } from "../lab/pulling.ts";

const MANIFEST = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" };

Deno.test("pieces of a body are copied: each may be a byte of a buffer of 64 KiB, and be written over behind it", async () => {
  const pooled = new Uint8Array(65_536);
  let sent = 0;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      pooled[0] = sent++;
      if (sent > 200) return controller.close();
      controller.enqueue(pooled.subarray(0, 1));
    },
  }, { highWaterMark: 0 });
  const bytes = await readAll(new Response(stream), "r.example", 1000, "it", 5000);
  assert.deepEqual([...bytes], Array.from({ length: 200 }, (_, i) => i));
  assert.ok(bytes.buffer.byteLength <= 65_536, `${bytes.buffer.byteLength} bytes are held`);
});

Deno.test("what signs a storage's address stands in no message", async () => {
  const secret = "X-Amz-Signature=5ecret", seen: CosEvent[] = [];
  await using registry = fakeRegistry();
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const closing = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096));
      connection.close();
    }
  })();
  const host = `127.0.0.1:${listener.addr.port}`;
  registry.answer = () => redirect(`http://user:5ecret@${host}/blob?${secret}`);
  const { message } = await rejectionOf(() => sourceOf(`${registry.host}/os:v1`, { events: seen }).top());
  listener.close();
  await closing;
  assert.match(message, new RegExp(`^Cannot reach the registry ${host}: it closes the connection`));
  for (const text of [message, ...textsOf(seen, "wait")]) assert.doesNotMatch(text, /5ecret/, text);
});

Deno.test("a login that no header can hold is refused, and not repeated", async () => {
  await using registry = fakeRegistry();
  registry.answer = () => challenge('Bearer realm="http://127.0.0.1:1/token"');
  for (const registryToken of ["5ec\nret", "5ecr\u20act", "5ec ret", ""]) {
    const credentials = () => Promise.resolve({ username: "", password: "", registryToken });
    const { code, message } = await rejectionOf(() => sourceOf(`${registry.host}/os:v1`, { credentials }).top());
    assert.equal(code, "UNAUTHORIZED");
    assert.doesNotMatch(message, /5ec/);
  }
  const headers = { "X-Key": "5ec\nret" };
  const endpoints = [endpointOf(registry.host, "os", { headers })];
  const { code, message } = await rejectionOf(() => sourceOf(`${registry.host}/os:v1`, { endpoints }).top());
  assert.equal(code, "CONFIGURATION");
  assert.doesNotMatch(message, /5ec/);
});

Deno.test("one repository of a host that refuses access says nothing about another one there", async () => {
  await using registry = fakeRegistry();
  await using upstream = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content");
  registry.answer = (_, url) => url.pathname.startsWith("/v2/private/") ? error(403, "DENIED", "no") : undefined;
  upstream.answer = () => error(404, "X", "x");
  const source = sourceOf("r.example/os:v1", {
    endpoints: [
      endpointOf(registry.host, "private/os"),
      endpointOf(registry.host, "public/os"),
      endpointOf(upstream.host, "os"),
    ],
  });
  await source.top();
  assert.equal(await readBlob(source, blob), "content");
  assert.deepEqual([registry.seen.length, upstream.seen.length], [3, 0]);
});

Deno.test("where all that is left lacks something, those that were down are asked again before the pull is given up", async () => {
  await using mirror = fakeRegistry();
  await using upstream = fakeRegistry();
  upstream.manifest(MANIFEST, "v1");
  const blob = mirror.blob("content"), clock = new TestClock();
  mirror.answer = () => error(503, "X", "x");
  const endpoints = [endpointOf(mirror.host, "os"), endpointOf(upstream.host, "os")];
  const source = sourceOf("r.example/os:v1", { endpoints, clock });
  await source.top();
  mirror.answer = () => undefined;
  assert.equal(await readBlob(source, blob), "content");
  assert.deepEqual([mirror.seen.length, upstream.seen.length], [6, 2]);
});

Deno.test("the words of a server that drips them are not waited for, and a stop is heard", async () => {
  const drip = () => {
    let timer: ReturnType<typeof setInterval>;
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        timer = setInterval(() => controller.enqueue(new Uint8Array([32])), 20);
      },
      cancel() {
        clearInterval(timer);
      },
    });
  };
  // It would never end by itself.
  assert.equal(await serverMessage(new Response(drip()), "r.example", 200), "");
  const stop = new AbortController(), reason = new Error("stopped");
  setTimeout(() => stop.abort(reason), 50);
  await assert.rejects(serverMessage(new Response(drip()), "r.example", 10_000, stop.signal), reason);
});

Deno.test("a stop is heard while a login is looked up", async () => {
  await using registry = fakeRegistry();
  registry.answer = () => challenge("Basic");
  const stop = new AbortController(), reason = new Error("stopped");
  let given: AbortSignal | undefined;
  const credentials = (_host: string, _repository: string, signal?: AbortSignal) => {
    given = signal;
    setTimeout(() => stop.abort(reason), 10);
    return new Promise<undefined>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  };
  await assert.rejects(sourceOf(`${registry.host}/os:v1`, { credentials }).top(stop.signal), reason);
  assert.equal(given, stop.signal);
});

Deno.test("a layer from elsewhere that was compressed once more is an error by name", async () => {
  await using registry = fakeRegistry();
  const mediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  const descriptor = { ...registry.blob("content", mediaType), urls: ["https://elsewhere.example/layer"] };
  registry.answer = () => error(404, "X", "x");
  const answer = () => new Response("content", { headers: { "content-encoding": "gzip" } });
  const source = sourceOf(`${registry.host}/os:v1`, {
    fetch: (url, init) => url.startsWith("https://elsewhere.") ? Promise.resolve(answer()) : fetch(url, init),
  });
  const { code, message } = await rejectionOf(() => readBlob(source, descriptor));
  assert.equal(code, "REGISTRY_ERROR");
  assert.match(message, /elsewhere\.example sent a layer compressed once more \(gzip\), unasked\./);
});

Deno.test("a registry that never tires of new challenges, or of odd redirects, is soon given up", async () => {
  await using registry = fakeRegistry();
  let tokens = 0;
  registry.answerToken = () => Response.json({ token: `t${++tokens}`, expires_in: 0 });
  registry.answer = () =>
    challenge(`Bearer realm="${registry.tokens}/t",scope="s${tokens}",error="insufficient_scope"`);
  await rejects(
    () => sourceOf(`${registry.host}/os:v1`).top(),
    "UNAUTHORIZED",
    `Cannot read ${registry.host}/os:v1: the registry refuses access (it says: authentication required).`,
  );
  assert.ok(tokens <= 3, `${tokens} tokens`);
  registry.seen.length = 0;
  registry.answer = (_, url) => redirect(`${url.pathname}?${Math.random()}`);
  await rejectionOf(() => sourceOf(`${registry.host}/os:v1`).top());
  assert.ok(registry.seen.length <= 11, `${registry.seen.length} requests`);
});

Deno.test("a redirect that comes back to the registry, or to another port of it, brings no login there", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("content");
  registry.answer = (request) =>
    request.headers.has("authorization") ? redirect(`${registry.storage}/blob/${blob.digest}`) : challenge("Basic");
  const credentials = () => Promise.resolve({ username: "u", password: "p" });
  assert.equal(await readBlob(sourceOf(`${registry.host}/os:v1`, { credentials }), blob), "content");
  assert.deepEqual(registry.seen.map(({ server, authorization }) => [server, authorization]), [
    ["registry", null],
    ["registry", "Basic dTpw"],
    ["storage", null],
  ]);
});

Deno.test("a second answer of another length, range or total never gets into the first one's bytes", async () => {
  const content = "0123456789".repeat(100), bytes = new TextEncoder().encode(content);
  const ranges = [
    "bytes 500-999/1001",
    "bytes 501-999/1000",
    "bytes 0-499/1000",
    "bytes */1000",
    "500-999/1000",
    "bytes 500-400/1000",
  ];
  for (const range of ranges) {
    await using registry = fakeRegistry();
    const blob = registry.blob(content);
    registry.answer = (request) =>
      request.headers.has("range")
        ? new Response("x".repeat(500), { status: 206, headers: { "content-range": range } })
        : cutBody(bytes.subarray(0, 500));
    const { code } = await rejectionOf(() => readBlob(sourceOf(`${registry.host}/os:v1`), blob));
    assert.equal(code, "REGISTRY_ERROR", range);
  }
});
