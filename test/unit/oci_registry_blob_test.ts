/** Bodies that are cut, slow, too long, too short or not what was asked for. */
import assert from "node:assert/strict";
import { collect, rejectionOf, rejects } from "../lab/expect.ts";
import { body, cutBody, error, fakeRegistry } from "../lab/fake-registry.ts";
import { asDescriptor, readBlob, sourceOf } from "../lab/pulling.ts";

const CONTENT = "0123456789".repeat(1000);
const encoder = new TextEncoder();

function bytes(from = 0, to = CONTENT.length): Uint8Array {
  return encoder.encode(CONTENT.slice(from, to));
}

Deno.test("a body that is cut is taken up again where it stopped", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT);
  registry.answer = (request) => {
    const start = Number(/[0-9]+/.exec(request.headers.get("range") ?? "")?.[0] ?? 0);
    if (start >= 9000) return undefined;
    const headers = { "content-range": `bytes ${start}-9999/10000` };
    return cutBody(bytes(start, start + 3000), start === 0 ? {} : { status: 206, headers });
  };
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`), blob), CONTENT);
  assert.deepEqual(registry.seen.map(({ range }) => range), [null, "bytes=3000-", "bytes=6000-", "bytes=9000-"]);
});

Deno.test("a body that ends too early without a word is taken up again as well", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT);
  registry.answer = (request) => request.headers.has("range") ? undefined : body(bytes(0, 7000));
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`), blob), CONTENT);
  assert.deepEqual(registry.seen.map(({ range }) => range), [null, "bytes=7000-"]);
});

Deno.test("a registry that ignores the range sends all again, and what is known already is skipped", async () => {
  await using registry = fakeRegistry();
  registry.ranges = false;
  const blob = registry.blob(CONTENT);
  registry.answer = (request) => request.headers.has("range") ? undefined : cutBody(bytes(0, 3333));
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`), blob), CONTENT);
});

Deno.test("an answer for another range than was asked for is refused", async () => {
  for (
    const range of [
      "bytes 0-9999/10000",
      "bytes 3001-9999/10000",
      "bytes 3000-9999/10001",
      "bytes 3000-2999/10000",
      "bytes */10000",
      "3000-9999",
      undefined,
    ]
  ) {
    await using registry = fakeRegistry();
    const blob = registry.blob(CONTENT);
    registry.answer = (request) => {
      if (!request.headers.has("range")) return cutBody(bytes(0, 3000));
      return body(bytes(3000), { status: 206, headers: range === undefined ? {} : { "content-range": range } });
    };
    await rejects(
      () => readBlob(sourceOf(`${registry.host}/team/os:v1`), blob),
      "REGISTRY_ERROR",
      `Cannot pull ${registry.host}/team/os:v1: the registry answered a request for the bytes from 3000 with others.`,
    );
  }
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT);
  registry.answer = () => body(bytes(5), { status: 206, headers: { "content-range": "bytes 5-9999/10000" } });
  await rejects(
    () => readBlob(sourceOf(`${registry.host}/team/os:v1`), blob),
    "REGISTRY_ERROR",
    `Cannot pull ${registry.host}/team/os:v1: the registry answered a request for the bytes from 0 with others.`,
  );
});

Deno.test("after five tries in a row the pull is given up, and says how much is missing", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT);
  registry.answer = (request) => {
    if (!request.headers.has("range")) return body(bytes(0, 4000));
    return body(new Uint8Array(0), { status: 206, headers: { "content-range": "bytes 4000-9999/10000" } });
  };
  await rejects(
    () => readBlob(sourceOf(`${registry.host}/team/os:v1`), blob),
    "REGISTRY_UNREACHABLE",
    `Cannot pull ${registry.host}/team/os:v1: the registry closed the connection 6000 bytes early.`,
  );
  assert.equal(registry.seen.length, 5);
});

Deno.test("a body longer than was announced is not read to its end", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT);
  let sent = 0;
  const endless = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      sent++;
      controller.enqueue(new Uint8Array(65536));
    },
  });
  registry.answer = () => new Response(endless);
  const chunks = await collect(sourceOf(`${registry.host}/team/os:v1`).blob(asDescriptor(blob)));
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  assert.ok(size > CONTENT.length && size < 2 << 20, `${size} bytes were handed on`);
  assert.ok(sent < 1000);
});

Deno.test("errors of a blob are told with the server's words; those that stay as they are are not tried again", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT), name = `${registry.host}/team/os:v1`;
  const cases: [() => Response, string, string, number][] = [
    [
      () => error(404, "BLOB_UNKNOWN", "x"),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry lost a blob that the image needs.`,
      1,
    ],
    [
      () => error(500, "UNKNOWN", "disk\nfull\x1b"),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry answered the request for a blob with status 500: disk full\\u001b.`,
      5,
    ],
    [
      () => new Response("<html>busy</html>", { status: 503 }),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry answered the request for a blob with status 503.`,
      5,
    ],
    [
      () => error(403, "DENIED", "no"),
      "UNAUTHORIZED",
      `Cannot read ${name}: the registry refuses access (it says: no).`,
      1,
    ],
    [
      () => cutBody(encoder.encode('{"errors":'), { status: 502 }),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry answered the request for a blob with status 502.`,
      5,
    ],
    [
      () => new Response("x".repeat((1 << 20) + 1), { status: 400 }),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry answered the request for a blob with status 400.`,
      1,
    ],
  ];
  for (const [answer, code, message, requests] of cases) {
    const before = registry.seen.length;
    registry.answer = answer;
    assert.deepEqual(await rejectionOf(() => readBlob(sourceOf(name), blob)), { code, message });
    assert.equal(registry.seen.length, before + requests);
  }
});

Deno.test("errors of a manifest: unknown, too long, broken off", async () => {
  await using registry = fakeRegistry();
  const name = `${registry.host}/team/os:v1`, top = () => sourceOf(name).top();
  await rejects(top, "IMAGE_NOT_FOUND", `Cannot find ${name}: the registry has no such image.`);
  registry.answer = () => error(500, "UNKNOWN", "down");
  await rejects(
    top,
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the registry answered the request for a manifest with status 500: down.`,
  );
  registry.answer = () => new Response(new Uint8Array((4 << 20) + 1));
  await rejects(top, "REGISTRY_ERROR", `Refused the manifest of ${name}: it is longer than 4194304 bytes.`);
  registry.answer = () => new Response(new Uint8Array(4 << 20));
  assert.equal((await top()).bytes.length, 4 << 20);
  registry.answer = () => cutBody(encoder.encode("{"));
  const { code, message } = await rejectionOf(top);
  assert.equal(code, "REGISTRY_UNREACHABLE");
  assert.match(message, new RegExp(`^The connection to ${registry.host} broke: `));
});

Deno.test("a registry that is not there is named, with what people can check", async () => {
  await using registry = fakeRegistry();
  const { host } = registry;
  await registry[Symbol.asyncDispose]();
  await rejects(
    () => sourceOf(`${host}/team/os:v1`).top(),
    "REGISTRY_UNREACHABLE",
    `Cannot reach the registry ${host}: it refuses connections.`,
  );
  await rejects(
    () => sourceOf("no-such-host.invalid/os:v1").top(),
    "REGISTRY_UNREACHABLE",
    "Cannot reach the registry no-such-host.invalid: it has a name that cannot be looked up.",
  );
});

/** A body whose pieces come when the test says so. */
function slowBody(): { response: Response; send(text: string): void; close(): void } {
  let controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({ start: (given) => void (controller = given) });
  return {
    response: new Response(stream),
    send: (text) => controller.enqueue(encoder.encode(text)),
    close: () => controller.close(),
  };
}

Deno.test("a download may take as long as it likes while something comes", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT), { response, send, close } = slowBody();
  registry.answer = () => response;
  const limit = 600, pieces = 20;
  let sent = 0;
  const timer = setInterval(() => {
    send(CONTENT.slice(sent * 500, (sent + 1) * 500));
    if (++sent < pieces) return;
    clearInterval(timer);
    close();
  }, 60); // twice the limit in all, a tenth of it between two pieces
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`, { stallLimit: limit }), blob), CONTENT);
  assert.deepEqual(registry.seen.map(({ range }) => range), [null]);
});

Deno.test("a connection that brings nothing any more is given up and taken up again", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT), { response, send, close } = slowBody();
  send(CONTENT.slice(0, 4000));
  registry.answer = (request) => request.headers.has("range") ? undefined : response;
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`, { stallLimit: 300 }), blob), CONTENT);
  assert.deepEqual(registry.seen.map(({ range }) => range), [null, "bytes=4000-"]);
  try {
    close();
  } catch (thrown) {
    assert.ok(thrown instanceof TypeError); // the client's going has closed it already
  }
});

Deno.test("the time that the reader takes is not the registry's", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("x".repeat(4 << 20)),
    source = sourceOf(`${registry.host}/team/os:v1`, { stallLimit: 100 });
  let size = 0, waits = 2;
  for await (const chunk of source.blob(asDescriptor(blob))) {
    size += chunk.length;
    if (waits-- > 0) await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.equal(size, blob.size);
  assert.deepEqual(registry.seen.map(({ range }) => range), [null]);
});

Deno.test("a registry that takes a request and never answers is given up", async () => {
  await using registry = fakeRegistry();
  const held = Promise.withResolvers<undefined>();
  registry.answer = () => held.promise;
  await rejects(
    () => sourceOf(`${registry.host}/team/os:v1`, { stallLimit: 200 }).top(),
    "REGISTRY_UNREACHABLE",
    `Cannot reach the registry ${registry.host}: it did not answer within 0.2 seconds.`,
  );
  held.resolve(undefined);
});

Deno.test("an abort stops a pull at once with its own reason: before the answer, and in the middle of a body", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob(CONTENT), reason = new Error("stopped by the test");
  const held = Promise.withResolvers<undefined>(), asked = Promise.withResolvers<void>();
  registry.answer = () => {
    asked.resolve();
    return held.promise;
  };
  const waiting = new AbortController();
  const first = assert.rejects(readBlob(sourceOf(`${registry.host}/team/os:v1`), blob, waiting.signal), reason);
  await asked.promise;
  waiting.abort(reason);
  await first;
  held.resolve(undefined);

  const reading = new AbortController(), { response, send } = slowBody();
  registry.answer = () => response;
  send("0123");
  await assert.rejects(async () => {
    for await (const _ of sourceOf(`${registry.host}/team/os:v1`).blob(asDescriptor(blob), reading.signal)) {
      reading.abort(reason);
    }
  }, reason);
});
