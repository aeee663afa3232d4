/** Logins and redirects: who is asked for a token, and who never sees a login. */
import assert from "node:assert/strict";
import { rejects } from "../lab/expect.ts";
import { challenge, error, type FakeRegistry, fakeRegistry, redirect } from "../lab/fake-registry.ts";
import { LOGIN, LOGIN_HEADER, readBlob, sourceOf } from "../lab/pulling.ts";

const MANIFEST = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" };
const withLogin = { credentials: () => Promise.resolve(LOGIN) };

/** Answers 401 with the challenge until the request carries the authorization. */
function wants(registry: FakeRegistry, header: string, authorization: string): void {
  registry.answer = (request) => request.headers.get("authorization") === authorization ? undefined : challenge(header);
}

function authorizations(registry: FakeRegistry): string[] {
  return registry.seen.map(({ server, url, authorization }) =>
    `${server} ${url.replace(/\/v2\/team\/os/, "")} ${authorization}`
  );
}

Deno.test("a manifest is asked for without a login first, with all four types and no compression", async () => {
  await using registry = fakeRegistry();
  const { bytes } = registry.manifest(MANIFEST, "v1");
  const headers: (string | null)[] = [];
  registry.answer = (request) => {
    headers.push(request.headers.get("accept-encoding"), request.headers.get("user-agent"));
    return undefined;
  };
  const top = await sourceOf(`${registry.host}/team/os:v1`, withLogin).top();
  assert.deepEqual(top, { bytes, mediaType: MANIFEST.mediaType, expected: undefined });
  assert.deepEqual(headers, ["identity", "cos-test/1"]);
  assert.deepEqual(registry.seen, [{
    server: "registry",
    method: "GET",
    url: "/v2/team/os/manifests/v1",
    authorization: null,
    range: null,
    accept: "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
      "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json",
  }]);
});

Deno.test("with tag and digest the digest is what is asked for", async () => {
  await using registry = fakeRegistry();
  const { digest, bytes } = registry.manifest(MANIFEST);
  const top = await sourceOf(`${registry.host}/team/os:v1@${digest}`).top();
  assert.deepEqual(top, { bytes, mediaType: MANIFEST.mediaType, expected: digest });
});

Deno.test("Basic: the login is sent when it is asked for, and from then on at once", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content");
  wants(registry, 'Basic realm="lab"', LOGIN_HEADER);
  const source = sourceOf(`${registry.host}/team/os:v1`, withLogin);
  await source.top();
  assert.equal(await readBlob(source, blob), "content");
  assert.deepEqual(authorizations(registry), [
    "registry /manifests/v1 null",
    `registry /manifests/v1 ${LOGIN_HEADER}`,
    `registry /blobs/${blob.digest} ${LOGIN_HEADER}`,
  ]);
});

Deno.test("Bearer: a token is fetched with the login where there is one, for what the challenge or else the pull needs", async () => {
  for (const credentials of [undefined, LOGIN]) {
    await using registry = fakeRegistry();
    registry.manifest(MANIFEST, "v1");
    registry.answerToken = () =>
      Response.json(credentials ? { access_token: "t0ken" } : { token: "t0ken", expires_in: 1 });
    wants(registry, `Basic realm=x, Bearer realm="${registry.tokens}/auth?a=b",service="the registry"`, "Bearer t0ken");
    const source = sourceOf(`${registry.host}/team/os:v1`, { credentials: () => Promise.resolve(credentials) });
    await source.top();
    const account = credentials ? "&account=user" : "";
    assert.deepEqual(authorizations(registry), [
      "registry /manifests/v1 null",
      `token /auth?a=b${account}&service=the+registry&scope=repository%3Ateam%2Fos%3Apull ${
        credentials ? LOGIN_HEADER : null
      }`,
      "registry /manifests/v1 Bearer t0ken",
    ]);
  }
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  wants(registry, `bearer scope="repository:a:pull",realm="${registry.tokens}/auth"`, "Bearer t0ken");
  await sourceOf(`${registry.host}/team/os:v1`).top();
  assert.equal(registry.seen[1]?.url, "/auth?scope=repository%3Aa%3Apull");
});

Deno.test("a token that ran out is replaced by a new one in the middle of the pull", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const blob = registry.blob("content");
  let valid = "one";
  registry.answerToken = () => Response.json({ token: valid });
  registry.answer = (request) =>
    request.headers.get("authorization") === `Bearer ${valid}`
      ? undefined
      : challenge(`Bearer realm="${registry.tokens}/auth"`);
  const source = sourceOf(`${registry.host}/team/os:v1`);
  await source.top();
  valid = "two";
  assert.equal(await readBlob(source, blob), "content");
  assert.deepEqual(authorizations(registry).filter((line) => line.startsWith("registry /blobs")), [
    `registry /blobs/${blob.digest} Bearer one`,
    `registry /blobs/${blob.digest} Bearer two`,
  ]);
});

Deno.test("credentials are looked up once, for this host and repository, and only when they are asked for", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  const asked: string[] = [];
  const credentials = (host: string, repository: string) => {
    asked.push(`${host} ${repository}`);
    return Promise.resolve(LOGIN);
  };
  const source = sourceOf(`${registry.host}/team/os:v1`, { credentials });
  await source.top();
  assert.deepEqual(asked, []);
  registry.answer = () => challenge("Basic");
  const refusal =
    `Cannot read ${registry.host}/team/os:v1: the registry refuses access (it says: authentication required).`;
  await rejects(() => source.top(), "UNAUTHORIZED", refusal);
  await rejects(() => source.top(), "UNAUTHORIZED", refusal);
  assert.deepEqual(asked, [`${registry.host} team/os`]);
});

Deno.test("who may not read is told so, with the server's own words on one line", async () => {
  await using registry = fakeRegistry();
  const source = () => sourceOf(`${registry.host}/team/os:v1`);
  const refused = async (words: string) => {
    const name = `${registry.host}/team/os:v1`;
    await rejects(() => source().top(), "UNAUTHORIZED", `Cannot read ${name}: the registry refuses access${words}.`);
  };
  registry.answer = () => challenge("Negotiate");
  await refused(" (it says: authentication required)");
  registry.answer = () => new Response(null, { status: 401 });
  await refused("");
  registry.answer = () => challenge("Basic realm=x"); // and no login is known
  await refused(" (it says: authentication required)");
  registry.answer = () => challenge("Bearer service=x"); // no realm
  await refused(" (it says: authentication required)");
  registry.answer = () => error(403, "DENIED", "\x1b[2J  ask\r\n\tthe \u202eowner\x9b");
  await refused(" (it says: \\u001b[2J ask the \\u202eowner\\u009b)");
  registry.answer = () => error(403, "DENIED", "x".repeat(500));
  await refused(` (it says: ${"x".repeat(200)}…)`);
  registry.answer = () => Response.json({ message: "plain" }, { status: 403 });
  await refused(" (it says: plain)");
  registry.answer = () => new Response("<html>no</html>", { status: 403 });
  await refused("");
  registry.answer = () => challenge(`Bearer realm="${registry.tokens}/auth"`);
  for (const status of [401, 403]) {
    registry.answerToken = () => Response.json({ details: "bad login" }, { status });
    await refused(" (it says: bad login)");
  }
});

Deno.test("a token server that answers with something else is a fault of the registry", async () => {
  await using registry = fakeRegistry();
  registry.answer = () => challenge(`Bearer realm="${registry.tokens}/auth"`);
  const fault = async (why: string) =>
    await rejects(
      () => sourceOf(`${registry.host}/team/os:v1`).top(),
      "REGISTRY_ERROR",
      `Cannot pull ${registry.host}/team/os:v1: ${why}.`,
    );
  for (
    const answer of [{}, [], "t0ken", null, { token: "" }, { token: 5 }, { token: "a\nb" }, { token: "a b" }, {
      token: "é",
    }]
  ) {
    registry.answerToken = () => Response.json(answer);
    await fault("the token server answered without a token");
  }
  registry.answerToken = () => new Response("<html>");
  await fault("the token server answered without a token");
  registry.answerToken = () => error(500, "UNKNOWN", "down");
  await fault("the registry answered the request for a token with status 500: down");
  registry.answer = () => challenge('Bearer realm="not a url\x1b"'.replace("\x1b", "\t"));
  await fault('the registry names "not a url\\t" as its token server');
  for (const realm of ["file:///etc/cos/auth.json", 'data:application/json,{\\"token\\":\\"x\\"}']) {
    registry.answer = () => challenge(`Bearer realm="${realm}"`);
    await fault(`the registry names "${realm.replaceAll("\\", "")}" as its token server`);
  }
});

Deno.test("the token server's own redirects keep the login from other hosts", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  registry.answerToken = (_, url) => redirect(url.pathname === "/auth" ? "/again" : `${registry.storage}/token`);
  registry.answerStorage = () => Response.json({ token: "t0ken" });
  wants(registry, `Bearer realm="${registry.tokens}/auth"`, "Bearer t0ken");
  await sourceOf(`${registry.host}/team/os:v1`, withLogin).top();
  assert.deepEqual(authorizations(registry).slice(1), [
    `token /auth?account=user&scope=repository%3Ateam%2Fos%3Apull ${LOGIN_HEADER}`,
    `token /again ${LOGIN_HEADER}`,
    "storage /token null",
    "registry /manifests/v1 Bearer t0ken",
  ]);
});

Deno.test("redirects to another origin never carry the authorization, and the range goes along", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("0123456789");
  registry.answer = (request) => {
    if (request.headers.get("authorization") !== LOGIN_HEADER) return challenge("Basic");
    return request.url.includes("/blobs/")
      ? redirect(`${registry.storage}/blob/${blob.digest}?signature=s`)
      : undefined;
  };
  let tries = 0;
  registry.answerStorage = () => tries++ === 0 ? new Response("01234") : undefined;
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`, withLogin), blob), "0123456789");
  const path = `/blobs/${blob.digest}`, stored = `/blob/${blob.digest}?signature=s`;
  assert.deepEqual(
    registry.seen.map((
      { server, url, authorization, range },
    ) => [server, url.replace("/v2/team/os", ""), authorization, range]),
    [
      ["registry", path, null, null],
      ["registry", path, LOGIN_HEADER, null],
      ["storage", stored, null, null],
      ["registry", path, LOGIN_HEADER, "bytes=5-"], // again from the registry: signed URLs live for minutes
      ["storage", stored, null, "bytes=5-"],
    ],
  );
});

Deno.test("a redirect within the registry keeps the authorization", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("x");
  registry.answer = (request, url) => {
    if (request.headers.get("authorization") !== LOGIN_HEADER) return challenge("Basic");
    return url.searchParams.has("moved") ? undefined : redirect(`/v2/team/os/blobs/${blob.digest}?moved`, 302);
  };
  assert.equal(await readBlob(sourceOf(`${registry.host}/team/os:v1`, withLogin), blob), "x");
  assert.deepEqual(registry.seen.map(({ authorization }) => authorization), [null, LOGIN_HEADER, LOGIN_HEADER]);
});

Deno.test("a 401 of the storage is not the registry's: its token server never gets the login (CVE-2020-15157)", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("x");
  registry.answer = () => redirect(`${registry.storage}/blob/${blob.digest}`);
  for (const header of [`Bearer realm="${registry.tokens}/steal"`, "Basic realm=x"]) {
    registry.answerStorage = () => challenge(header);
    await rejects(
      () => readBlob(sourceOf(`${registry.host}/team/os:v1`, withLogin), blob),
      "REGISTRY_ERROR",
      `Cannot pull ${registry.host}/team/os:v1: the registry answered the request for a blob with status 401: authentication required.`,
    );
  }
  assert.deepEqual(
    registry.seen.filter(({ server, authorization }) => server === "token" || authorization !== null),
    [],
  );
});

Deno.test("redirects that lead nowhere, in circles or out of encryption are refused", async () => {
  await using registry = fakeRegistry();
  const fault = async (why: string, host = registry.host, options = {}) =>
    await rejects(
      () => sourceOf(`${host}/team/os:v1`, options).top(),
      "REGISTRY_ERROR",
      `Cannot pull ${host}/team/os:v1: ${why}.`,
    );
  registry.answer = () => redirect("/v2/again");
  await fault("the registry redirects more than 10 times");
  registry.answer = () => redirect("http://[/");
  await fault('the registry redirects to "http://[/", which is no URL');
  registry.answer = () => redirect("file:///etc/shadow");
  await fault("the registry redirects to file://, which is not encrypted");
  // Over TLS, played by a fetch of our own: a plain address is refused, for the registry and for the token server.
  const answers = (...responses: [number, Record<string, string>][]) => ({
    fetch: (url: string | URL | Request) => {
      const [status, headers] = responses.shift() ?? [500, {}];
      const response = new Response(null, { status, headers });
      Object.defineProperty(response, "url", { value: String(url) });
      return Promise.resolve(response);
    },
  });
  await fault(
    "the registry redirects to http://cdn.example, which is not encrypted",
    "r.example",
    answers([307, { location: "http://cdn.example/x" }]),
  );
  await fault(
    "the registry names http://auth.example as its token server, which is not encrypted",
    "r.example",
    answers([401, { "www-authenticate": 'Bearer realm="http://auth.example/token"' }]),
  );
  await fault(
    "the registry names http://auth.example as its token server, which is not encrypted",
    "localhost:5000",
    answers([401, { "www-authenticate": 'Bearer realm="http://auth.example/token"' }]),
  );
  await fault(
    "the token server redirects to http://auth.example, which is not encrypted",
    "r.example",
    answers([401, { "www-authenticate": 'Bearer realm="https://a.example/"' }], [302, {
      location: "http://auth.example/",
    }]),
  );
});

Deno.test("only loopback is spoken to without TLS, unless the operator says so; Docker Hub has another name", async () => {
  const asked: string[] = [];
  const fetch = (url: string | URL | Request) => {
    asked.push(String(url));
    return Promise.reject(new TypeError("stop"));
  };
  for (
    const [host, plainHttp] of [
      ["r.example", false],
      ["r.example", true],
      ["localhost:5000", false],
      ["127.1.2.3", false],
      ["[::1]:80", false],
      ["127.0.0.1.example", false],
      ["docker.io", false],
    ] as const
  ) {
    await sourceOf(`${host}/team/os:v1`, { fetch, plainHttp }).top().catch(() => undefined);
  }
  assert.deepEqual([...new Set(asked.map((url) => url.replace(/\/v2.*/, "")))], [
    "https://r.example",
    "http://r.example",
    "http://localhost:5000",
    "http://127.1.2.3",
    "http://[::1]",
    "https://127.0.0.1.example",
    "https://registry-1.docker.io",
  ]);
});
