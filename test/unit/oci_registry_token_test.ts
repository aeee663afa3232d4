/** Tokens: which are asked for and how, how long they live, and who never sees what they are bought with. */
import assert from "node:assert/strict";
import type { Credentials } from "../../lib/formats/endpoint.ts";
import { rejects } from "../lab/expect.ts";
import { body, challenge, error, type FakeRegistry, fakeRegistry, redirect } from "../lab/fake-registry.ts";
import { LOGIN, LOGIN_HEADER, readBlob, sourceOf, TestClock } from "../lab/pulling.ts";

const MANIFEST = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" };

/** A registry that takes the token that its token server gave last, for whatever scope. */
function withTokens(registry: FakeRegistry, answers: Record<string, unknown>[] = []): { given: string[] } {
  const given: string[] = [];
  registry.answerToken = () => {
    given.push(`t${given.length + 1}`);
    return Response.json({ token: given.at(-1), ...answers.shift() });
  };
  registry.answer = (request) =>
    request.headers.get("authorization") === `Bearer ${given.at(-1)}`
      ? undefined
      : challenge(`Bearer realm="${registry.tokens}/auth",service="s"`);
  return { given };
}

function as(credentials: Credentials) {
  return { credentials: () => Promise.resolve(credentials) };
}

Deno.test("challenges may come in several headers, in any order: a token is preferred to a password", async () => {
  for (const order of [["basic", "bearer"], ["bearer", "basic"]]) {
    await using registry = fakeRegistry();
    registry.manifest(MANIFEST, "v1");
    registry.answer = (request) => {
      if (request.headers.get("authorization") === "Bearer t0ken") return undefined;
      const headers = new Headers();
      for (const scheme of order) {
        headers.append(
          "WWW-Authenticate",
          scheme === "basic" ? 'BASIC realm="x"' : `bEARER Realm="${registry.tokens}/auth"`,
        );
      }
      return new Response(null, { status: 401, headers });
    };
    await sourceOf(`${registry.host}/os:v1`, as(LOGIN)).top();
    assert.deepEqual(registry.seen.map(({ server }) => server), ["registry", "token", "registry"]);
  }
  // One without a realm leads nowhere, and the password is asked for as well.
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  registry.answer = (request) =>
    request.headers.get("authorization") === LOGIN_HEADER
      ? undefined
      : challenge('Bearer service="x", Basic realm="y"');
  await sourceOf(`${registry.host}/os:v1`, as(LOGIN)).top();
});

Deno.test("a token is renewed before it ends; one that ends sooner than a minute, or says nothing, lives for a minute", async () => {
  const cases: [Record<string, unknown>, number][] = [
    [{ expires_in: 300 }, 300],
    [{ expires_in: 5 }, 60],
    [{ expires_in: -1 }, 60],
    [{ expires_in: "300" }, 60],
    [{}, 60],
    [{ expires_in: 120, issued_at: "1999-01-01T00:00:00Z" }, 120],
  ];
  for (const [answer, lifetime] of cases) {
    await using registry = fakeRegistry();
    registry.manifest(MANIFEST, "v1");
    const { given } = withTokens(registry, [answer]), clock = new TestClock();
    const source = sourceOf(`${registry.host}/os:v1`, { clock });
    await source.top();
    clock.time += lifetime * 1000 - 10_001;
    await source.top();
    assert.equal(given.length, 1, JSON.stringify(answer));
    clock.time += 1;
    await source.top();
    assert.equal(given.length, 2, JSON.stringify(answer));
    // The new one was fetched before the request, which was not refused for it.
    assert.deepEqual(registry.seen.slice(-2).map(({ server }) => server), ["token", "registry"]);
  }
});

Deno.test("a token that ran out while a blob was downloaded is replaced, and the download goes on", async () => {
  await using registry = fakeRegistry();
  const blob = registry.blob("0123456789");
  const { given } = withTokens(registry), ordinary = registry.answer;
  let cuts = 1;
  registry.answer = async (request, url) => {
    const refused = await ordinary(request, url);
    if (refused !== undefined || cuts-- <= 0) return refused;
    given.push("revoked");
    return body(new TextEncoder().encode("01234"));
  };
  assert.equal(await readBlob(sourceOf(`${registry.host}/os:v1`), blob), "0123456789");
  assert.deepEqual(registry.seen.map(({ server, authorization, range }) => [server, authorization, range]), [
    ["registry", null, null],
    ["token", null, null],
    ["registry", "Bearer t1", null],
    ["registry", "Bearer t1", "bytes=5-"],
    ["token", null, null],
    ["registry", "Bearer t3", "bytes=5-"],
  ]);
});

/** The bodies that the token server was posted. */
function postable(registry: FakeRegistry, answer: (form: URLSearchParams) => Response): string[] {
  const posted: string[] = [];
  registry.answerToken = async (request) => {
    if (request.method !== "POST") return Response.json({ token: "t0ken" });
    const text = await request.text();
    posted.push(`${request.headers.get("content-type")} ${text}`);
    return answer(new URLSearchParams(text));
  };
  registry.answer = (request) =>
    request.headers.get("authorization") === "Bearer t0ken"
      ? undefined
      : challenge(`Bearer realm="${registry.tokens}/auth?a=b",service="the registry"`);
  registry.manifest(MANIFEST, "v1");
  return posted;
}

const IDENTITY = { username: "", password: "", identityToken: "ref/resh+" };

Deno.test("an identity token is posted, as OAuth2 wants it, and stands in no URL", async () => {
  await using registry = fakeRegistry();
  const posted = postable(registry, () => Response.json({ access_token: "t0ken", expires_in: 60 }));
  await sourceOf(`${registry.host}/team/os:v1`, as(IDENTITY)).top();
  assert.deepEqual(posted, [
    "application/x-www-form-urlencoded grant_type=refresh_token&refresh_token=ref%2Fresh%2B&client_id=cos&service=the+registry&scope=repository%3Ateam%2Fos%3Apull",
  ]);
  assert.deepEqual(registry.seen.map(({ method, url, authorization }) => [method, url, authorization]), [
    ["GET", "/v2/team/os/manifests/v1", null],
    ["POST", "/auth?a=b", null],
    ["GET", "/v2/team/os/manifests/v1", "Bearer t0ken"],
  ]);
});

Deno.test("a token server without OAuth2 says 404 or 405, and is asked the older way", async () => {
  for (const status of [404, 405]) {
    await using registry = fakeRegistry();
    postable(registry, () => new Response(null, { status }));
    await sourceOf(`${registry.host}/team/os:v1`, as({ ...IDENTITY, username: "user" })).top();
    assert.deepEqual(registry.seen.slice(1, 3).map(({ method, url, authorization }) => [method, url, authorization]), [
      ["POST", "/auth?a=b", null],
      [
        "GET",
        "/auth?a=b&account=user&service=the+registry&scope=repository%3Ateam%2Fos%3Apull",
        `Basic ${btoa("user:ref/resh+")}`,
      ],
    ]);
  }
});

Deno.test("an identity token that is refused is a login that is refused; it is never redirected elsewhere", async () => {
  await using registry = fakeRegistry();
  const name = `${registry.host}/team/os:v1`, top = () => sourceOf(name, as(IDENTITY)).top();
  for (const status of [400, 401, 403]) {
    postable(registry, () => Response.json({ error: "invalid_grant", message: "expired" }, { status }));
    await rejects(top, "UNAUTHORIZED", `Cannot read ${name}: the registry refuses access (it says: expired).`);
  }
  postable(registry, () => redirect(`${registry.storage}/steal`));
  registry.answerStorage = () => Response.json({ access_token: "t0ken" });
  await rejects(
    top,
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the token server redirects a login to ${registry.storage}.`,
  );
  assert.deepEqual(registry.seen.filter(({ server }) => server === "storage"), []);
});

Deno.test("a registry token is a bearer token, and is bought from nobody", async () => {
  await using registry = fakeRegistry();
  registry.manifest(MANIFEST, "v1");
  registry.answer = (request) =>
    request.headers.get("authorization") === "Bearer own"
      ? undefined
      : challenge(`Bearer realm="${registry.tokens}/auth"`);
  const name = `${registry.host}/os:v1`;
  await sourceOf(name, as({ username: "", password: "", registryToken: "own" })).top();
  assert.deepEqual(registry.seen.map(({ server, authorization }) => [server, authorization]), [
    ["registry", null],
    ["registry", "Bearer own"],
  ]);
  await rejects(
    () => sourceOf(name, as({ username: "", password: "", registryToken: "other" })).top(),
    "UNAUTHORIZED",
    `Cannot read ${name}: the registry refuses access (it says: authentication required).`,
  );
});

Deno.test("insufficient_scope: a token for the scope that the registry then names, once", async () => {
  for (const honest of [true, false]) {
    await using registry = fakeRegistry();
    registry.manifest(MANIFEST, "v1");
    registry.answerToken = (_, url) => Response.json({ token: url.searchParams.get("scope")?.replaceAll(":", ".") });
    const realm = `realm="${registry.tokens}/auth"`;
    registry.answer = (request) => {
      const authorization = request.headers.get("authorization");
      if (honest && authorization === "Bearer repository.os.pull,metadata") return undefined;
      return challenge(
        authorization === null
          ? `Bearer ${realm}`
          : `Bearer ${realm},scope="repository:os:pull,metadata",error="insufficient_scope"`,
      );
    };
    const name = `${registry.host}/os:v1`, top = () => sourceOf(name).top();
    if (honest) await top();
    else {
      await rejects(
        top,
        "UNAUTHORIZED",
        `Cannot read ${name}: the registry refuses access (it says: authentication required).`,
      );
    }
    assert.deepEqual(registry.seen.filter(({ server }) => server === "token").map(({ url }) => url), [
      "/auth?scope=repository%3Aos%3Apull",
      "/auth?scope=repository%3Aos%3Apull%2Cmetadata",
    ]);
    assert.equal(registry.seen.filter(({ server }) => server === "registry").length, 3);
  }
});

Deno.test("a password with an identity token's name is never sent as one; Basic wants a real one", async () => {
  await using registry = fakeRegistry();
  registry.answer = () => challenge("Basic");
  const name = `${registry.host}/os:v1`;
  for (const credentials of [IDENTITY, { ...IDENTITY, username: "user" }]) {
    await rejects(
      () => sourceOf(name, as(credentials)).top(),
      "UNAUTHORIZED",
      `Cannot read ${name}: the registry refuses access (it says: authentication required).`,
    );
  }
  assert.ok(registry.seen.every(({ authorization }) => authorization === null));
});

Deno.test("a token server that fails for good does so with its own status, after its tries", async () => {
  await using registry = fakeRegistry();
  registry.answer = () => challenge(`Bearer realm="${registry.tokens}/auth"`);
  registry.answerToken = () => error(418, "X", "teapot");
  const name = `${registry.host}/os:v1`;
  await rejects(
    () => sourceOf(name).top(),
    "REGISTRY_ERROR",
    `Cannot pull ${name}: the registry answered the request for a token with status 418: teapot.`,
  );
  assert.equal(registry.seen.filter(({ server }) => server === "token").length, 1);
});
