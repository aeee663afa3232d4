/** Several places to pull from: who is asked for what and in which order, and what is done when one fails. */
import assert from "node:assert/strict";
import type { CosEvent } from "../../lib/base/events.ts";
import type { Descriptor } from "../../lib/formats/manifest.ts";
import { endpointUrl, registryEndpoint } from "../../lib/oci/endpoint.ts";
import { layerBytes, resolveImage } from "../../lib/oci/pull.ts";
import { collect, rejectionOf, rejects } from "../lab/expect.ts";
import {
  type Answer,
  body,
  challenge,
  cutBody,
  error,
  type FakeRegistry,
  fakeRegistry,
  redirect,
} from "../lab/fake-registry.ts";
import {
  endpointOf,
  LOGIN,
  LOGIN_HEADER,
  type PullOptions,
  readBlob,
  sourceOf,
  TestClock,
  textsOf,
} from "../lab/pulling.ts";

const MANIFEST = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" };
const NAME = "r.example/team/os:v1";
const encoder = new TextEncoder();

/** A mirror and the registry itself, with the same content in both. */
function pair(content = "content") {
  const mirror = fakeRegistry(), registry = fakeRegistry();
  const manifest = [mirror, registry].map((one) => one.manifest(MANIFEST, "v1"))[0];
  const blob = [mirror, registry].map((one) => one.blob(content))[0];
  assert.ok(manifest !== undefined && blob !== undefined);
  return {
    ...{ mirror, registry, manifest, blob },
    endpoints: [endpointOf(mirror.host, "cache/os"), endpointOf(registry.host, "team/os")],
    async [Symbol.asyncDispose]() {
      await Promise.all([mirror[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
    },
  };
}

function requests(...registries: FakeRegistry[]): number[] {
  return registries.map(({ seen }) => seen.length);
}

Deno.test("an endpoint has its own path, name for the repository, query and headers; other origins do not see the headers", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content"), secrets: (string | null)[] = [];
  registry.answer = (request, url) => {
    secrets.push(request.headers.get("x-secret"));
    return url.pathname.includes("/blobs/") ? redirect(`${registry.storage}/blob/${blob.digest}`) : undefined;
  };
  registry.answerStorage = (request) => {
    secrets.push(request.headers.get("x-secret"));
    return undefined;
  };
  const endpoint = endpointOf(registry.host, "proxy/team/os", {
    apiPath: "/v2/hub",
    query: { ns: "docker.io", "a b": "ü" },
    headers: { "X-Secret": "s", Authorization: "Custom c" },
  });
  const source = sourceOf(NAME, { endpoints: [endpoint] });
  await source.top();
  assert.equal(await readBlob(source, blob), "content");
  assert.deepEqual(registry.seen.map(({ url, authorization }) => `${url} ${authorization}`), [
    "/v2/hub/proxy/team/os/manifests/v1?ns=docker.io&a+b=%C3%BC Custom c",
    `/v2/hub/proxy/team/os/blobs/${blob.digest}?ns=docker.io&a+b=%C3%BC Custom c`,
    `/blob/${blob.digest} null`,
  ]);
  assert.deepEqual(secrets, ["s", "s", null]);
});

Deno.test("the registry itself: Docker Hub has another host, and its logins keep the old name", () => {
  const hub = registryEndpoint({ host: "docker.io", repository: "library/os" }, { plainHttp: false });
  assert.equal(endpointUrl(hub, "manifests", "v1").href, "https://registry-1.docker.io/v2/library/os/manifests/v1");
  assert.equal(hub.loginHost, "docker.io");
});

Deno.test("a mirror that has everything is the only one that is asked", async () => {
  await using lab = pair();
  const source = sourceOf(NAME, lab);
  const { bytes } = await source.top();
  assert.deepEqual(bytes, lab.manifest.bytes);
  assert.equal(await readBlob(source, lab.blob), "content");
  assert.deepEqual(requests(lab.mirror, lab.registry), [2, 0]);
});

Deno.test("whatever a mirror answers that is no manifest, the next is asked, and people are warned", async () => {
  const cases: [Answer, string, number][] = [
    [() => error(404, "X", "x"), `Cannot find ${NAME}: MIRROR has no such image.`, 1],
    [
      () => error(400, "X", "bad"),
      `Cannot pull ${NAME}: MIRROR answered the request for a manifest with status 400: bad.`,
      1,
    ],
    [() => error(403, "X", "no"), `Cannot read ${NAME}: MIRROR refuses access (it says: no).`, 1],
    [() => challenge("Basic"), `Cannot read ${NAME}: MIRROR refuses access (it says: authentication required).`, 1],
    [
      () => error(502, "X", "x"),
      `Cannot pull ${NAME}: MIRROR answered the request for a manifest with status 502: x.`,
      5,
    ],
    [() => redirect("http://["), `Cannot pull ${NAME}: MIRROR redirects to "http://[", which is no URL.`, 1],
    [
      () => body(new Uint8Array((4 << 20) + 1)),
      `Refused the manifest of ${NAME}: it is longer than 4194304 bytes.`,
      1,
    ],
  ];
  for (const [answer, message, times] of cases) {
    await using lab = pair();
    const events: CosEvent[] = [];
    lab.mirror.answer = answer;
    const { bytes } = await sourceOf(NAME, { ...lab, events }).top();
    assert.deepEqual(bytes, lab.manifest.bytes);
    assert.deepEqual(textsOf(events, "warning"), [
      `${message.replace("MIRROR", lab.mirror.host)} Asking ${lab.registry.host} instead.`,
    ]);
    assert.deepEqual(requests(lab.mirror, lab.registry), [times, 1], message);
  }
});

Deno.test("a manifest that is not what its digest names is asked for elsewhere; from the last it is an error", async () => {
  await using lab = pair();
  const { digest, bytes, size, mediaType } = lab.manifest, events: CosEvent[] = [];
  const lie = () => body(encoder.encode("{}"), { headers: { "content-type": mediaType } });
  const empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
  lab.mirror.answer = lie;
  const source = sourceOf(`r.example/team/os@${digest}`, { ...lab, events });
  assert.deepEqual((await source.top()).bytes, bytes);
  assert.deepEqual((await source.manifest({ digest, size } as Descriptor)).bytes, bytes);
  const told = `Refused the manifest of r.example/team/os@${digest}: expected ${digest}, got ${empty}.`;
  assert.deepEqual(textsOf(events, "warning"), Array(2).fill(`${told} Asking ${lab.registry.host} instead.`));
  lab.registry.answer = lie;
  await rejects(() => source.top(), "DIGEST_MISMATCH", `${told} Before that: ${told}`);
});

Deno.test("small blobs are proven before a byte is handed on: wrong ones come from elsewhere", async () => {
  for (
    const lie of ["CONTENT", "", "content and more", "x".repeat(100)].map(encoder.encode, encoder)
  ) {
    await using lab = pair();
    const events: CosEvent[] = [], clock = new TestClock();
    lab.mirror.answer = () => body(lie);
    assert.equal(await readBlob(sourceOf(NAME, { ...lab, events, clock }), lab.blob), "content");
    assert.equal(textsOf(events, "warning").length, 1);
    assert.equal(lab.registry.seen[0]?.range, null);
  }
  // Chunked, so that no length betrays it.
  await using lab = pair();
  lab.mirror.answer = () => new Response(new Blob(["content and more"]).stream());
  assert.equal(await readBlob(sourceOf(NAME, lab), lab.blob), "content");
});

Deno.test("of a large blob another length than the manifest's is seen before a byte is handed on", async () => {
  const content = "0123456789".repeat(200_000);
  await using lab = pair(content);
  const events: CosEvent[] = [];
  lab.mirror.answer = () => body(encoder.encode(`${content}x`));
  assert.equal(await readBlob(sourceOf(NAME, { ...lab, events }), lab.blob), content);
  assert.deepEqual(textsOf(events, "warning"), [
    `Cannot pull ${NAME}: ${lab.mirror.host} announces 2000001 bytes where the manifest says 2000000. Asking ${lab.registry.host} instead.`,
  ]);
});

Deno.test("a blob that breaks for good goes on at the next place, by range", async () => {
  const content = "0123456789".repeat(200_000);
  await using lab = pair(content);
  const events: CosEvent[] = [], clock = new TestClock(), bytes = encoder.encode(content);
  // It sends the first half, then breaks whatever it is asked; its announced length is right.
  lab.mirror.answer = (request) => {
    if (request.headers.has("range")) return error(404, "BLOB_UNKNOWN", "gone");
    const half = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        controller.enqueue(bytes.slice(0, 1_000_000));
        controller.close();
      },
    });
    return new Response(half, { headers: { "content-length": String(bytes.length) } });
  };
  assert.equal(await readBlob(sourceOf(NAME, { ...lab, events, clock }), lab.blob), content);
  assert.deepEqual(lab.registry.seen.map(({ range }) => range), ["bytes=1000000-"]);
  assert.deepEqual(textsOf(events, "warning"), [
    `Cannot pull ${NAME}: ${lab.mirror.host} lost a blob that the image needs. Asking ${lab.registry.host} instead.`,
  ]);
  assert.deepEqual(clock.seconds, [1]);
});

Deno.test("one that is down is not asked again; one that only lacks something is", async () => {
  await using lab = pair();
  const source = sourceOf(NAME, { ...lab, clock: new TestClock() });
  lab.mirror.answer = () => error(503, "X", "x");
  await source.top();
  assert.deepEqual(requests(lab.mirror, lab.registry), [5, 1]);
  await readBlob(source, lab.blob);
  assert.deepEqual(requests(lab.mirror, lab.registry), [5, 2]);
  const other = sourceOf(NAME, lab);
  lab.mirror.answer = () => error(404, "X", "x");
  await other.top();
  lab.mirror.answer = () => undefined;
  await readBlob(other, lab.blob);
  assert.deepEqual(requests(lab.mirror, lab.registry), [7, 3]);
});

Deno.test("the last one's error is the result, and the others are named in it", async () => {
  await using lab = pair();
  lab.mirror.answer = () => error(403, "X", "no");
  lab.registry.answer = () => error(404, "X", "x");
  await rejects(
    () => sourceOf(NAME, lab).top(),
    "IMAGE_NOT_FOUND",
    `Cannot find ${NAME}: ${lab.registry.host} has no such image. Before that: Cannot read ${NAME}: ${lab.mirror.host} refuses access (it says: no).`,
  );
});

Deno.test("who may be asked for tags, and who for digests", async () => {
  await using lab = pair();
  const [mirror, registry] = lab.endpoints;
  assert.ok(mirror !== undefined && registry !== undefined);
  const digestsOnly = sourceOf(NAME, { endpoints: [{ ...mirror, tags: false }, registry] });
  await digestsOnly.top();
  assert.deepEqual(requests(lab.mirror, lab.registry), [0, 1]);
  await readBlob(digestsOnly, lab.blob);
  assert.deepEqual(requests(lab.mirror, lab.registry), [1, 1]);
  const tagsOnly = sourceOf(NAME, { endpoints: [{ ...mirror, digests: false }, registry] });
  await tagsOnly.top();
  await readBlob(tagsOnly, lab.blob);
  assert.deepEqual(requests(lab.mirror, lab.registry), [2, 2]);
  await rejects(
    () => sourceOf(NAME, { endpoints: [{ ...mirror, tags: false }] }).top(),
    "REGISTRY_ERROR",
    `Cannot pull ${NAME}: none of its mirrors may be asked for tags.`,
  );
});

Deno.test("each endpoint has its own login: by its host, or its own; none is sent to another", async () => {
  await using lab = pair();
  const looked: string[] = [];
  const credentials: PullOptions["credentials"] = (host, repository) => {
    looked.push(`${host} ${repository}`);
    return Promise.resolve(host === lab.registry.host ? LOGIN : undefined);
  };
  lab.mirror.answer = () => challenge("Basic");
  lab.registry.answer = (request) =>
    request.headers.get("authorization") === LOGIN_HEADER ? undefined : challenge("Basic");
  await sourceOf(NAME, { ...lab, credentials }).top();
  assert.deepEqual(looked, [`${lab.mirror.host} cache/os`, `${lab.registry.host} team/os`]);
  assert.deepEqual(lab.mirror.seen.map(({ authorization }) => authorization), [null]);
  const [mirror, registry] = lab.endpoints, own = { username: "mirror", password: "m" };
  assert.ok(mirror !== undefined && registry !== undefined);
  await sourceOf(NAME, { endpoints: [{ ...mirror, credentials: own }, registry], credentials }).top();
  assert.deepEqual(lab.mirror.seen.slice(1).map(({ authorization }) => authorization), [
    null,
    `Basic ${btoa("mirror:m")}`,
  ]);
});

const FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

Deno.test("a layer that registries may not hand out comes from the manifest's addresses: last, over TLS, without a login", async () => {
  await using registry = fakeRegistry();
  const { digest, size } = registry.blob("content");
  const asked: string[] = [], events: CosEvent[] = [];
  const fetchForeign: PullOptions["fetch"] = (url, init) => {
    if (url.startsWith("http://127.0.0.1")) return fetch(url, init);
    const headers = new Headers(init?.headers);
    asked.push(`${url} ${headers.get("authorization")} ${headers.get("range")}`);
    if (url.startsWith("https://gone.example")) return Promise.resolve(new Response(null, { status: 404 }));
    return Promise.resolve(new Response("content"));
  };
  const urls = [
    "http://plain.example/x",
    "file:///etc/shadow",
    "https://user:pw@login.example/",
    "no url",
    "https://gone.example/x",
    "https://cdn.example/layer",
  ];
  registry.answer = (request) =>
    request.headers.get("authorization") === LOGIN_HEADER ? error(404, "BLOB_UNKNOWN", "x") : challenge("Basic");
  const source = () =>
    sourceOf(`${registry.host}/os:v1`, { fetch: fetchForeign, credentials: () => Promise.resolve(LOGIN), events });
  assert.equal(await readBlob(source(), { digest, size, mediaType: FOREIGN, urls }), "content");
  assert.deepEqual(asked, ["https://gone.example/x null null", "https://cdn.example/layer null null"]);
  assert.equal(textsOf(events, "warning").length, 2);
  // An ordinary layer's addresses are nobody's business.
  asked.length = 0;
  const { code } = await rejectionOf(() =>
    readBlob(source(), { digest, size, mediaType: "application/vnd.oci.image.layer.v1.tar", urls })
  );
  assert.deepEqual([code, asked], ["REGISTRY_ERROR", []]);
  // The registry is asked first: it may have it all the same.
  registry.answer = () => undefined;
  assert.equal(await readBlob(source(), { digest, size, mediaType: FOREIGN, urls }), "content");
  assert.deepEqual(asked, []);
});

Deno.test("a body that breaks at one place and again at the next is still one blob", async () => {
  const content = "0123456789".repeat(400_000);
  await using lab = pair(content);
  const bytes = encoder.encode(content), clock = new TestClock();
  const cut = (least: number, length: number): Answer => (request) => {
    const start = Number(/[0-9]+/.exec(request.headers.get("range") ?? "")?.[0] ?? 0);
    if (start >= least) return undefined;
    const headers: Record<string, string> = start > 0
      ? { "content-range": `bytes ${start}-${bytes.length - 1}/*` }
      : {};
    return cutBody(bytes.subarray(start, start + length), { status: start > 0 ? 206 : 200, headers });
  };
  lab.registry.answer = cut(3_900_000, 1_300_000);
  const [, registry] = lab.endpoints;
  assert.ok(registry !== undefined);
  assert.equal(await readBlob(sourceOf(NAME, { endpoints: [registry], clock }), lab.blob), content);
  assert.deepEqual(lab.registry.seen.map(({ range }) => range), [
    null,
    "bytes=1300000-",
    "bytes=2600000-",
    "bytes=3900000-",
  ]);
});

Deno.test("a large layer that is not what its digest names says who sent it; asked for again, it comes from the others", async () => {
  const content = "0123456789".repeat(200_000);
  await using lab = pair(content);
  const config = (registry: FakeRegistry) =>
    registry.blob(
      JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [lab.blob.digest] } }),
      "application/vnd.oci.image.config.v1+json",
    );
  for (const one of [lab.mirror, lab.registry]) {
    one.manifest({ ...MANIFEST, config: config(one), layers: [lab.blob] }, "v2");
  }
  lab.mirror.answer = (_, url) =>
    url.pathname.endsWith(lab.blob.digest) ? body(encoder.encode("x".repeat(2_000_000))) : undefined;
  const name = "r.example/team/os:v2";
  const image = await resolveImage(sourceOf(name, lab), { os: "linux", architecture: "amd64" });
  const [layer] = image.manifest.layers;
  assert.ok(layer !== undefined);
  const { code, message } = await rejectionOf(() => collect(layerBytes(image, layer)));
  assert.equal(code, "DIGEST_MISMATCH");
  assert.ok(message.startsWith(`Refused layer ${layer.digest} of ${name}: expected ${layer.digest}, got sha256:`));
  assert.ok(message.endsWith(`. It came from ${lab.mirror.host}.`), message);
  assert.equal((await collect(layerBytes(image, layer))).reduce((sum, { length }) => sum + length, 0), 2_000_000);
});

Deno.test("a manifest that breaks off is asked for again, and then elsewhere", async () => {
  await using lab = pair();
  const clock = new TestClock(), events: CosEvent[] = [];
  const cut = () => cutBody(encoder.encode("{"), { headers: { "content-type": MANIFEST.mediaType } });
  const answers = [cut, cut];
  lab.mirror.answer = () => answers.shift()?.();
  assert.deepEqual((await sourceOf(NAME, { ...lab, clock, events }).top()).bytes, lab.manifest.bytes);
  assert.deepEqual([clock.seconds, requests(lab.mirror, lab.registry)], [[1, 2], [3, 0]]);
  assert.deepEqual(textsOf(events, "warning"), []);
  lab.mirror.answer = cut;
  assert.deepEqual((await sourceOf(NAME, { ...lab, clock, events }).top()).bytes, lab.manifest.bytes);
  assert.deepEqual(requests(lab.mirror, lab.registry), [6, 1]);
  assert.equal(textsOf(events, "warning").length, 1);
});
