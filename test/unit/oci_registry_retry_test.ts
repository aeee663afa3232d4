/** What is tried again, how often, and after how long: by a clock of the test's own, on which waiting takes no time. */
import assert from "node:assert/strict";
import type { CosEvent } from "../../lib/base/events.ts";
import { backoff, mayPass, Reconnects, retryAfter } from "../../lib/oci/retry.ts";
import { wait } from "../../lib/system/system.ts";
import { rejectionOf, rejects } from "../lab/expect.ts";
import { body, challenge, cutBody, error, type FakeRegistry, fakeRegistry, redirect } from "../lab/fake-registry.ts";
import { readBlob, sourceOf, TestClock, textsOf } from "../lab/pulling.ts";

const MANIFEST = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" };
const MIB = 1 << 20;

/** Answers so often with a status and headers, then as usual. */
function fails(registry: FakeRegistry, times: number, status: number, headers: Record<string, string> = {}): void {
  let left = times;
  registry.answer = () => left-- > 0 ? error(status, "BUSY", "busy", headers) : undefined;
}

function seconds(clock: TestClock): number[] {
  return clock.waits.map((milliseconds) => milliseconds / 1000);
}

Deno.test("a registry that asks to wait is given the time that it asks for, and people are told", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const date = new Date().toUTCString(), later = (s: number) => new Date(Date.parse(date) + s * 1000).toUTCString();
  const cases: [number, Record<string, string>, number[]][] = [
    [429, { "retry-after": "20" }, [20, 20]],
    [429, { "retry-after": "0" }, [1, 1]],
    [503, { "retry-after": " 300 " }, [300, 300]],
    // A date counts from the server's own clock: this machine's, here, is years off.
    [429, { "retry-after": later(45), date }, [45, 45]],
    [429, { "retry-after": later(-45), date }, [1, 1]],
    [429, {}, [2, 4]],
    [429, { "retry-after": "soon" }, [2, 4]],
    [429, { "retry-after": "-5" }, [2, 4]],
    [408, {}, [2, 4]],
    [500, {}, [2, 4]],
    [502, {}, [2, 4]],
    [503, {}, [2, 4]],
    [504, {}, [2, 4]],
    [599, {}, [2, 4]],
  ];
  for (const [status, headers, expected] of cases) {
    const clock = new TestClock(Date.UTC(1999, 0));
    fails(registry, 2, status, headers);
    await sourceOf(`${registry.host}/os:v1`, { clock }).top();
    assert.deepEqual(seconds(clock), expected, `${status} ${JSON.stringify(headers)}`);
  }
  const events: CosEvent[] = [];
  fails(registry, 1, 429, { "retry-after": "20" });
  await sourceOf(`${registry.host}/os:v1`, { events }).top();
  fails(registry, 1, 502);
  await sourceOf(`${registry.host}/os:v1`, { events }).top();
  assert.deepEqual(events, [
    { kind: "wait", text: `${registry.host} asks to wait (too many requests); trying again in 20 s`, seconds: 20 },
    { kind: "wait", text: `${registry.host} answers with status 502; trying again in 2 s`, seconds: 2 },
  ]);
});

Deno.test("after five tries it is over, and the server's words are told", async () => {
  await using registry = fakeRegistry();
  const clock = new TestClock(), name = `${registry.host}/os:v1`;
  fails(registry, 99, 429);
  await rejects(
    () => sourceOf(name, { clock }).top(),
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the registry answered the request for a manifest with status 429: busy.`,
  );
  assert.deepEqual([registry.seen.length, seconds(clock)], [5, [2, 4, 8, 16]]);
  assert.deepEqual([1, 2, 5, 6, 7, 60].map(backoff), [2000, 4000, 32000, 60000, 60000, 60000]);
});

Deno.test("a registry that asks for more than five minutes is not waited for", async () => {
  await using registry = fakeRegistry();
  const clock = new TestClock(), name = `${registry.host}/os:v1`;
  for (const [after, time] of [["301", "6 minutes"], ["21600", "6 hours"], ["7201", "3 hours"]] as const) {
    fails(registry, 1, 429, { "retry-after": after });
    await rejects(
      () => sourceOf(name, { clock }).top(),
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry asks to come back in ${time} (it says: busy).`,
    );
  }
  assert.deepEqual(clock.waits, []);
});

Deno.test("what will not pass is not tried again", async () => {
  await using registry = fakeRegistry();
  for (const status of [400, 403, 404, 405, 410, 418, 501, 505]) {
    const clock = new TestClock(), before = registry.seen.length;
    fails(registry, 1, status);
    await rejectionOf(() => sourceOf(`${registry.host}/os:v1`, { clock }).top());
    assert.deepEqual([registry.seen.length - before, clock.waits], [1, []], String(status));
  }
  assert.deepEqual([200, 206, 301, 401, 416].map(mayPass), [false, false, false, false, false]);
});

Deno.test("storage behind a redirect that is busy is asked again from the registry: the signed URL may have ended", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("content"), clock = new TestClock();
  let signature = 0;
  registry.answer = () => redirect(`${registry.storage}/blob/${blob.digest}?s=${++signature}`);
  registry.answerStorage = (_, url) =>
    url.search === "?s=1" ? new Response(null, { status: 503, headers: { "retry-after": "3" } }) : undefined;
  assert.equal(await readBlob(sourceOf(`${registry.host}/os:v1`, { clock }), blob), "content");
  assert.deepEqual(registry.seen.map(({ server, url }) => `${server} ${url.split("?")[1] ?? ""}`), [
    "registry ",
    "storage s=1",
    "registry ",
    "storage s=2",
  ]);
  assert.deepEqual(seconds(clock), [3]);
});

Deno.test("a token server that is busy is asked again", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const clock = new TestClock();
  registry.answer = (request) =>
    request.headers.has("authorization") ? undefined : challenge(`Bearer realm="${registry.tokens}/auth"`);
  const answers = [error(503, "X", "x"), error(429, "X", "x", { "retry-after": "7" })];
  registry.answerToken = () => answers.shift() ?? Response.json({ token: "t" });
  await sourceOf(`${registry.host}/os:v1`, { clock }).top();
  assert.deepEqual(seconds(clock), [2, 7]);
});

Deno.test("a registry that never answered may be a typo: three tries; one that did gets five", async () => {
  const registry = fakeRegistry(), name = `${registry.host}/os:v1`;
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content"), clock = new TestClock(), events: CosEvent[] = [];
  const source = sourceOf(name, { clock, events });
  await source.top();
  await registry[Symbol.asyncDispose]();
  await rejects(
    () => sourceOf(name, { clock }).top(),
    "REGISTRY_UNREACHABLE",
    `Cannot reach the registry ${registry.host}: it refuses connections.`,
  );
  assert.deepEqual(clock.seconds, [1, 2]);
  clock.waits.length = 0;
  const { code } = await rejectionOf(() => readBlob(source, blob));
  assert.deepEqual([code, clock.seconds], ["REGISTRY_UNREACHABLE", [1, 2, 4, 8]]);
  assert.equal(
    textsOf(events, "wait")[0],
    `Cannot reach the registry ${registry.host}: it refuses connections; trying again in 1 s`,
  );
});

Deno.test("a first try that took long is not repeated for minutes", async () => {
  const clock = new TestClock(), asked: string[] = [];
  const fetch = (url: string) => {
    asked.push(url);
    clock.time += 21_000;
    return Promise.reject(new TypeError("connection timed out"));
  };
  await rejectionOf(() => sourceOf("r.example/os:v1", { clock, fetch }).top());
  assert.deepEqual([asked.length, clock.waits], [1, []]);
});

Deno.test("a certificate that is not trusted is not tried again; a clock from before the program's day is named", async () => {
  const clock = new TestClock(Date.UTC(2001, 1, 3)),
    fetch = () => {
      const cause = new Error("client error (Connect): invalid peer certificate: NotValidYet");
      return Promise.reject(new TypeError("fetch failed", { cause }));
    };
  const top = () => sourceOf("r.example/os:v1", { clock, fetch }).top();
  const text = "fetch failed: client error (Connect): invalid peer certificate: NotValidYet";
  const why = "Cannot reach the registry r.example: it has no certificate that this machine trusts";
  await rejects(top, "REGISTRY_UNREACHABLE", `${why} (${text}).`);
  const built = globalThis as { COS_BUILD?: { commit: string; builtAt: number } };
  built.COS_BUILD = { commit: "x", builtAt: Date.UTC(2026, 10, 25) };
  try {
    await rejects(
      top,
      "REGISTRY_UNREACHABLE",
      `${why} (${text}; this machine's clock says 2001-02-03, but this program was made on 2026-11-25: set the clock first).`,
    );
    clock.time = Date.UTC(2030, 0);
    await rejects(top, "REGISTRY_UNREACHABLE", `${why} (${text}).`);
  } finally {
    delete built.COS_BUILD;
  }
  assert.deepEqual(clock.waits, []);
});

/** A blob of 8 MiB; each answer is cut behind the number of bytes that `lengths` gives next. */
function cutting(registry: FakeRegistry, lengths: number[], each: () => void = () => {}) {
  const bytes = new Uint8Array(8 * MIB).map((_, i) => i % 251), blob = registry.blob(bytes);
  registry.answer = (request) => {
    const length = lengths.shift();
    each();
    if (length === undefined) return undefined;
    const start = Number(/[0-9]+/.exec(request.headers.get("range") ?? "")?.[0] ?? 0);
    const headers: Record<string, string> = start === 0
      ? {}
      : { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    return cutBody(bytes.subarray(start, start + length), { status: start === 0 ? 200 : 206, headers });
  };
  return blob;
}

Deno.test("a download that breaks waits a second; a mebibyte between two breaks is reason enough to go on for ever", async () => {
  await using registry = fakeRegistry();
  const blob = cutting(registry, [MIB, MIB, MIB, MIB, MIB, MIB, MIB + 5]),
    clock = new TestClock(),
    events: CosEvent[] = [];
  await readBlob(sourceOf(`${registry.host}/os:v1`, { clock, events }), blob);
  assert.deepEqual(clock.seconds, [1, 1, 1, 1, 1, 1, 1]);
  assert.ok(clock.waits.every((milliseconds) => milliseconds < 1100));
  assert.equal(
    textsOf(events, "wait")[0],
    `The download from ${registry.host} broke at 1 MiB of 8 MiB; going on in 1 s`,
  );
});

Deno.test("a download that brings less is taken up four times more, each after a longer wait", async () => {
  await using registry = fakeRegistry();
  const clock = new TestClock(), small = [5, 1000, 1000, 1000, 1000, 1000];
  const blob = cutting(registry, small);
  const { code, message } = await rejectionOf(() => readBlob(sourceOf(`${registry.host}/os:v1`, { clock }), blob));
  assert.equal(code, "REGISTRY_UNREACHABLE");
  assert.match(message, /^The connection to 127\.0\.0\.1:[0-9]+ broke: /);
  assert.deepEqual([clock.seconds, small.length], [[1, 2, 4, 8], 1]);
});

Deno.test("a download that lasted a minute since the last break goes on, unless it brought nothing", async () => {
  await using registry = fakeRegistry();
  const clock = new TestClock(), slow = Array<number>(9).fill(1000);
  let blob = cutting(registry, slow, () => clock.time += 60_000);
  await readBlob(sourceOf(`${registry.host}/os:v1`, { clock }), blob);
  assert.deepEqual(clock.seconds, Array(9).fill(1));
  clock.waits.length = 0;
  blob = cutting(registry, [1000, 0, 0, 0, 0, 0, 0], () => clock.time += 60_000);
  await rejectionOf(() => readBlob(sourceOf(`${registry.host}/os:v1`, { clock }), blob));
  assert.deepEqual(clock.seconds, [1, 2, 4, 8]);
});

Deno.test("a blob that is shorter than the manifest says is not asked for for ever", async () => {
  await using registry = fakeRegistry();
  const { digest } = registry.blob("content"), clock = new TestClock(), name = `${registry.host}/os:v1`;
  registry.answer = (request) => request.headers.has("range") ? error(416, "RANGE", "no") : undefined;
  await rejects(
    () => readBlob(sourceOf(name, { clock }), { digest, size: 9 }),
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the registry has only 7 of the 9 bytes of a blob.`,
  );
  assert.deepEqual(registry.seen.map(({ range }) => range), [null, "bytes=7-"]);
});

Deno.test("an answer that was compressed once more is an error by name: its bytes are not those that were stored", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content"), name = `${registry.host}/os:v1`;
  const gzip = new Uint8Array([31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  registry.answer = () => body(gzip, { headers: { "content-encoding": "gzip" } });
  for (
    const [what, action] of [
      ["blob", () => readBlob(sourceOf(name), blob)],
      ["manifest", () => sourceOf(name).top()],
    ] as const
  ) {
    await rejects(
      action,
      "REGISTRY_ERROR",
      `Cannot pull ${name}: the registry sent a ${what} compressed once more (gzip), unasked.`,
    );
  }
  registry.answer = (_, url) =>
    url.pathname.includes("blobs")
      ? body(new TextEncoder().encode("content"), { headers: { "content-encoding": "identity" } })
      : undefined;
  assert.equal(await readBlob(sourceOf(name), blob), "content");
});

Deno.test("a manifest that drips for ever is given up, however regularly it drips", async () => {
  await using registry = fakeRegistry();
  let timer: ReturnType<typeof setInterval> | undefined;
  registry.answer = () =>
    new Response(
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (controller) => void (timer = setInterval(() => controller.enqueue(new Uint8Array(1)), 10)),
        cancel: () => clearInterval(timer),
      }),
    );
  const { code, message } = await rejectionOf(() => sourceOf(`${registry.host}/os:v1`, { stallLimit: 40 }).top());
  assert.deepEqual([code, message], [
    "REGISTRY_UNREACHABLE",
    `The connection to ${registry.host} broke: the manifest of ${registry.host}/os:v1 took over 0.4 seconds.`,
  ]);
  clearInterval(timer);
});

Deno.test("a manifest that names another digest than it has was changed on its way", async () => {
  await using registry = fakeRegistry();
  const { digest, bytes } = registry.manifest(MANIFEST, "v1"), name = `${registry.host}/os:v1`;
  const announce = (told: string) => {
    const headers = { "content-type": MANIFEST.mediaType, "docker-content-digest": told };
    registry.answer = () => body(bytes, { headers });
  };
  announce(digest);
  await sourceOf(name).top();
  const other = `sha256:${"0".repeat(64)}`;
  announce(other);
  await rejects(
    () => sourceOf(name).top(),
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the registry announces the manifest ${other} and sends ${digest}.`,
  );
  announce("md5:0");
  await sourceOf(name).top();
});

Deno.test("retryAfter() and Reconnects: the rules alone", () => {
  const after = (headers: Record<string, string>) => retryAfter(new Headers(headers), Date.UTC(2026, 0, 1));
  assert.deepEqual([
    after({}),
    after({ "retry-after": "" }),
    after({ "retry-after": "1.5" }),
    after({ "retry-after": "9999999999" }),
    after({ "retry-after": "120" }),
    after({ "retry-after": "Thu, 01 Jan 2026 00:01:00 GMT" }),
    after({ "retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", date: "Thu, 01 Jan 2026 00:00:50 GMT" }),
    after({ "retry-after": "2026" }),
  ], [undefined, undefined, undefined, undefined, 120_000, 60_000, 10_000, 2_026_000]);
  const reconnects = new Reconnects(),
    next = (offset: number, at: number) => Math.floor((reconnects.next(offset, at) ?? -1000) / 1000);
  assert.deepEqual([
    next(0, 0),
    next(0, 1000),
    next(MIB, 2000),
    next(MIB + 1, 3000),
    next(MIB + 2, 63_000),
    next(MIB + 2, 999_000),
    next(MIB + 2, 999_001),
    next(MIB + 2, 999_002),
    next(MIB + 2, 999_003),
  ], [1, 2, 1, 2, 1, 2, 4, 8, -1]);
});

Deno.test("wait() waits, and ends at once with the reason where the work is stopped", async () => {
  const start = performance.now();
  await wait(20);
  assert.ok(performance.now() - start >= 19);
  const reason = new Error("stop"), controller = new AbortController();
  const waiting = assert.rejects(wait(60_000, controller.signal), reason);
  controller.abort(reason);
  await waiting;
  await assert.rejects(wait(60_000, controller.signal), reason);
});

Deno.test("who stops the work while a registry is waited for need not wait for it", async () => {
  await using registry = fakeRegistry();
  const controller = new AbortController(), reason = new Error("stop"), clock = new TestClock();
  fails(registry, 1, 429, { "retry-after": "60" });
  const stopping = {
    ...clock,
    now: clock.now,
    wait: (ms: number, signal?: AbortSignal) => {
      queueMicrotask(() => controller.abort(reason));
      return wait(ms, signal);
    },
  };
  const source = sourceOf(`${registry.host}/os:v1`, { clock: stopping as unknown as TestClock });
  await assert.rejects(source.top(controller.signal), reason);
  assert.equal(registry.seen.length, 1);
});
