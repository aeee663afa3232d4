/** The program's registry client against a real registry: tokens, passwords, TLS, client certificates, mirrors, proxies. */
import assert from "node:assert/strict";
import { MEDIA_TYPES } from "../../lib/formats/manifest.ts";
import { hostCertificates } from "../../lib/config/certificates.ts";
import { httpSettings } from "../../lib/config/http.ts";
import type { CosEvent } from "../../lib/base/events.ts";
import type { Endpoint } from "../../lib/formats/endpoint.ts";
import { layerBytes, resolveImage } from "../../lib/oci/pull.ts";
import { RealHttp } from "../../lib/system/http.ts";
import { makeAuthority, makeClientCertificate } from "../lab/certificates.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { collect, rejectionOf, rejects } from "../lab/expect.ts";
import { packLayer, writeLayout } from "../lab/oci-layout.ts";
import { startProxy, startSocks } from "../lab/proxy.ts";
import { endpointOf, LOGIN, LOGIN_HEADER, type PullOptions, sourceOf, textsOf } from "../lab/pulling.ts";
import { type Registry, type RegistryOptions, startRegistry } from "../lab/registry.ts";
import { file, tar } from "../lab/tar-writer.ts";
import { startTokenServer } from "../lab/token-server.ts";

const PLATFORM = { os: "linux", architecture: "amd64" };
const USER = { name: LOGIN.username, password: LOGIN.password };
const withLogin = { credentials: () => Promise.resolve(LOGIN) };

/** A scratch directory with a layout of one small image, and that image's digest. */
async function layout() {
  const scratch = scratchDirectory("registry-real");
  const layers = [
    packLayer(tar([file("a", "first")]), "gzip"),
    packLayer(tar([file("b", "x".repeat(200_000))]), "gzip"),
  ];
  const [written] = writeLayout(`${scratch.path}/layout`, { v1: { layers, platform: PLATFORM } });
  await Promise.resolve();
  return { scratch, path: scratch.path, layout: `${scratch.path}/layout`, digest: written?.descriptor.digest ?? "" };
}

/** Pulls all of an image, every byte proven; returns its digest and how many bytes its layers have. */
async function pull(reference: string, options: PullOptions): Promise<{ digest: string; bytes: number }> {
  const image = await resolveImage(sourceOf(reference, options), PLATFORM);
  let bytes = 0;
  for (const layer of image.manifest.layers) {
    for (const chunk of await collect(layerBytes(image, layer))) bytes += chunk.length;
  }
  return { digest: image.digest, bytes };
}

function realHttp(env: Record<string, string> = {}): RealHttp {
  return new RealHttp(httpSettings((name) => env[name], () => {}));
}

function fetchOf(http: RealHttp): PullOptions["fetch"] {
  return (url, init, tls) => http.fetch(url, init, tls);
}

/** As an endpoint over TLS, where the lab's registry speaks it: loopback addresses are plain otherwise. */
function secure({ host }: { host: string }, repository: string, rest: Partial<Endpoint> = {}): Endpoint {
  return endpointOf(host, repository, { origin: `https://${host}`, ...rest });
}

/** Stores an image without skopeo, which a registry with tokens or client certificates would need a login for. */
async function startFilled(made: { path: string; layout: string }, options: RegistryOptions): Promise<Registry> {
  const storage = `${made.path}/storage-${crypto.randomUUID()}`;
  {
    await using open = await startRegistry({ storage });
    await open.push(made.layout, "v1", "team/os:v1");
  }
  return await startRegistry({ ...options, storage });
}

Deno.test("tokens: anonymous, with a login, with an identity token; they are renewed before they end", async () => {
  const made = await layout();
  await using _ = made.scratch;
  for (const kind of ["anonymous", "login", "identity"] as const) {
    await using tokens = await startTokenServer({
      directory: made.path,
      ...(kind === "login" && { login: LOGIN }),
      ...(kind === "identity" && { refreshToken: "refresh" }),
    });
    await using registry = await startFilled(made, { token: tokens.registry });
    const credentials = kind === "anonymous"
      ? undefined
      : kind === "login"
      ? LOGIN
      : { username: "", password: "", identityToken: "refresh" };
    const reference = `${registry.host}/team/os:v1`;
    const found = await pull(reference, { credentials: () => Promise.resolve(credentials) });
    assert.equal(found.digest, made.digest);
    const asked = "service=lab registry&scope=repository:team/os:pull";
    assert.deepEqual(
      tokens.seen.splice(0),
      {
        anonymous: [`GET ${asked}`],
        login: [`GET account=user&${asked}`],
        identity: [`POST grant_type=refresh_token&refresh_token=…&client_id=cos&${asked}`],
      }[kind],
    );
    if (kind === "anonymous") continue;
    await rejects(
      () => pull(reference, { credentials: () => Promise.resolve({ username: "other", password: "x" }) }),
      "UNAUTHORIZED",
      `Cannot read ${reference}: the registry refuses access (it says: no such user).`,
    );
  }
});

Deno.test("an identity token is exchanged the older way where the token server knows no POST", async () => {
  const made = await layout();
  await using _ = made.scratch;
  await using tokens = await startTokenServer({
    directory: made.path,
    login: { username: "user", password: "refresh" },
  });
  await using registry = await startFilled(made, { token: tokens.registry });
  const credentials = () => Promise.resolve({ username: "user", password: "", identityToken: "refresh" });
  assert.equal((await pull(`${registry.host}/team/os:v1`, { credentials })).digest, made.digest);
  assert.deepEqual(tokens.seen.map((line) => line.split(" ")[0]), ["POST", "GET"]);
});

Deno.test("a token that the registry takes for expired is replaced in the middle of a pull", async () => {
  const made = await layout();
  await using _ = made.scratch;
  // Beyond the registry's leeway of a minute: it refuses such a token, and the next one is sound.
  await using tokens = await startTokenServer({ directory: made.path });
  await using registry = await startFilled(made, { token: tokens.registry });
  const source = sourceOf(`${registry.host}/team/os:v1`);
  tokens.lifetime = -120;
  const { message } = await rejectionOf(() => source.top());
  assert.match(message, /refuses access/);
  tokens.lifetime = 300;
  const image = await resolveImage(source, PLATFORM);
  assert.equal(image.digest, made.digest);
  assert.equal(tokens.seen.length, 2);
});

Deno.test("TLS with a CA of its own: refused by name without it, pulled with it, and whoever listens is not told a password", async () => {
  const made = await layout();
  await using _ = made.scratch;
  await using registry = await startRegistry({ tls: true, user: USER });
  await registry.push(made.layout, "v1", "team/os:v1");
  using http = realHttp();
  const reference = `${registry.host}/team/os:v1`, ca = [Deno.readTextFileSync(registry.caFile ?? "")];
  const attempt = (endpoint: Endpoint, given = http) =>
    pull(reference, { ...withLogin, fetch: fetchOf(given), endpoints: [endpoint] });
  const { code, message } = await rejectionOf(() => attempt(secure(registry, "team/os")));
  assert.equal(code, "REGISTRY_UNREACHABLE");
  assert.match(message, /has no certificate that this machine trusts \(.*UnknownIssuer\)\.$/);
  const good = await attempt(secure(registry, "team/os", { tls: { ca } }));
  assert.equal(good.digest, made.digest);
  assert.equal((await attempt(secure(registry, "team/os", { tls: { ca: [], skipVerify: true } }))).digest, made.digest);

  // The same from files: the system's own CAs, and Docker's directory for a host.
  const caFile = registry.caFile ?? "";
  for (
    const env of [{ SSL_CERT_FILE: caFile } as Record<string, string>, {
      SSL_CERT_DIR: caFile.slice(0, caFile.lastIndexOf("/")),
    }]
  ) {
    using trusting = realHttp(env);
    assert.equal((await attempt(secure(registry, "team/os"), trusting)).digest, made.digest);
  }
  Deno.mkdirSync(`${made.path}/certs.d/${registry.host}`, { recursive: true });
  Deno.copyFileSync(registry.caFile ?? "", `${made.path}/certs.d/${registry.host}/ca.crt`);
  const tls = await hostCertificates(registry.host, [`${made.path}/none`, `${made.path}/certs.d`]);
  assert.equal((await attempt(secure(registry, "team/os", { tls }))).digest, made.digest);

  const plain = await rejectionOf(() => attempt(endpointOf(registry.host, "team/os")));
  assert.equal(plain.code, "REGISTRY_ERROR"); // it says 400: HTTP to an HTTPS port
});

Deno.test("a registry that wants a client's certificate gets the one that lies in its directory", async () => {
  const made = await layout();
  await using _ = made.scratch;
  const authority = await makeAuthority(made.path, "clients");
  const client = await makeClientCertificate(made.path, authority);
  await using registry = await startFilled(made, { tls: true, clientCas: [authority.certificate] });
  const directory = `${made.path}/certs.d/${registry.host}`;
  Deno.mkdirSync(directory, { recursive: true });
  Deno.copyFileSync(registry.caFile ?? "", `${directory}/ca.crt`);
  const reference = `${registry.host}/team/os:v1`;
  using http = realHttp();
  const attempt = async (skipVerify = false) => {
    const tls = { ...await hostCertificates(registry.host, [`${made.path}/certs.d`]), skipVerify };
    return await pull(reference, { fetch: fetchOf(http), endpoints: [secure(registry, "team/os", { tls })] });
  };
  const { code, message } = await rejectionOf(() => attempt());
  assert.equal(code, "REGISTRY_UNREACHABLE");
  // Which of the two is seen depends on whether the refusal or the end of the connection is read first.
  assert.match(message, /(?:it may want a client certificate|it closes the connection)/);
  Deno.copyFileSync(client.certificate, `${directory}/client.cert`);
  await rejects(
    () => attempt(),
    "CONFIGURATION",
    `Cannot use ${directory}/client.cert: there is no client.key beside it (CAs are named *.crt).`,
  );
  Deno.copyFileSync(client.key, `${directory}/client.key`);
  assert.equal((await attempt()).digest, made.digest);
  assert.equal((await attempt(true)).digest, made.digest);
});

Deno.test("a pull-through mirror is asked first, the registry when it is down; the registry's login is not the mirror's", async () => {
  const made = await layout();
  await using _ = made.scratch;
  // A registry with a token server: docker-registry's mirror cannot log in with a password alone.
  await using tokens = await startTokenServer({ directory: made.path, login: LOGIN });
  await using registry = await startFilled(made, { token: tokens.registry });
  await using mirror = await startRegistry({ remote: { url: `http://${registry.host}`, user: USER } });
  const reference = `${registry.host}/team/os:v1`, events: CosEvent[] = [];
  const asked: string[] = [];
  const credentials = (host: string) => {
    asked.push(host);
    return Promise.resolve(host === registry.host ? LOGIN : undefined);
  };
  const endpoints = [endpointOf(mirror.host, "team/os"), endpointOf(registry.host, "team/os")];
  assert.equal((await pull(reference, { credentials, endpoints, events })).digest, made.digest);
  assert.deepEqual([asked, textsOf(events, "warning")], [[], []]); // the mirror had all, and wanted no login
  await mirror.close();
  assert.equal((await pull(reference, { credentials, endpoints, events })).digest, made.digest);
  assert.deepEqual([asked, textsOf(events, "warning")], [[registry.host], [
    `Cannot reach the registry ${mirror.host}: it refuses connections. Asking ${registry.host} instead.`,
  ]]);
  // By digest, from a mirror that may not be asked for tags.
  const digestsOnly = [endpointOf(mirror.host, "team/os", { tags: false }), endpointOf(registry.host, "team/os")];
  events.length = 0;
  assert.equal(
    (await sourceOf(reference, { credentials, endpoints: digestsOnly, events }).top()).mediaType,
    MEDIA_TYPES.ociManifest,
  );
  assert.deepEqual(events, []);
});

Deno.test("through a proxy: forwarded and tunnelled, with its login, and never where it is not wanted", async () => {
  const made = await layout();
  await using _ = made.scratch;
  await using plain = await startRegistry();
  await plain.push(made.layout, "v1", "team/os:v1");
  await using registry = await startRegistry({ tls: true, names: ["registry.test"] });
  await registry.push(made.layout, "v1", "team/os:v1");
  const ports = { "registry.test:443": registry.port, "registry.test:80": plain.port };
  await using proxy = await startProxy(ports);
  proxy.wants = LOGIN_HEADER;
  const address = proxy.url.replace("//", `//user:${encodeURIComponent("pass:word")}@`);
  const ca = [Deno.readTextFileSync(registry.caFile ?? "")];
  const env = { HTTPS_PROXY: address, http_proxy: address };
  const attempt = async (given: Record<string, string>, origin: string, tls: Endpoint["tls"] = { ca }) => {
    using http = realHttp(given);
    const endpoints = [endpointOf("registry.test", "team/os", { origin, tls })];
    return (await pull("registry.test/team/os:v1", { fetch: fetchOf(http), endpoints })).digest;
  };
  assert.equal(await attempt(env, "http://registry.test"), made.digest);
  assert.deepEqual(proxy.seen.splice(0)[0], "GET http://registry.test/v2/team/os/manifests/v1");
  assert.equal(await attempt(env, "https://registry.test"), made.digest);
  assert.deepEqual(proxy.seen.splice(0), ["CONNECT registry.test:443"]);
  assert.equal(await attempt(env, "https://registry.test", { ca: [], skipVerify: true }), made.digest);
  assert.deepEqual([...new Set(proxy.seen.splice(0))], ["CONNECT registry.test:443"]);
  // Loopback, and what NO_PROXY names, goes past it.
  assert.equal(await attempt(env, `http://${plain.host}`), made.digest);
  assert.equal(await attempt(env, `https://127.0.0.1:${registry.port}`), made.digest);
  const direct = await rejectionOf(() => attempt({ ...env, NO_PROXY: ".test" }, "https://registry.test"));
  assert.equal(
    direct.message,
    "Cannot reach the registry registry.test: it has a name that cannot be looked up.",
  );
  assert.deepEqual(proxy.seen, []);
  await using socks = await startSocks(ports);
  const viaSocks = { HTTPS_PROXY: socks.url, HTTP_PROXY: socks.url };
  for (const origin of ["https://registry.test", "http://registry.test"]) {
    assert.equal(await attempt(viaSocks, origin), made.digest);
  }
  assert.deepEqual([...new Set(socks.seen)], ["registry.test:443", "registry.test:80"]);
  // What goes wrong at the proxy names the proxy.
  const without = { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url };
  for (
    const [origin, tls] of [["https://registry.test", { ca }], ["http://registry.test", { ca }], [
      "https://registry.test",
      { ca, skipVerify: true },
    ]] as const
  ) {
    const { code, message } = await rejectionOf(() => attempt(without, origin, tls));
    assert.deepEqual([code, message], [
      "REGISTRY_UNREACHABLE",
      `Cannot reach the registry registry.test: it cannot be reached through the proxy ${proxy.url}, which wants a login.`,
    ]);
  }
  const { message } = await rejectionOf(() => attempt({ HTTPS_PROXY: "http://127.0.0.1:1" }, "https://registry.test"));
  assert.equal(
    message,
    "Cannot reach the registry registry.test: it cannot be reached through the proxy http://127.0.0.1:1, which refuses connections.",
  );
});

Deno.test("the runtime's own reading of the variables changes nothing, and children still find them", async () => {
  const made = await layout();
  await using _ = made.scratch;
  await using registry = await startRegistry();
  await registry.push(made.layout, "v1", "team/os:v1");
  // A process of its own: the runtime reads them when it makes its first connection.
  const script = `
    import { realSystem } from "${import.meta.resolve("../../lib/system/system.ts")}";
    import { httpSettings } from "${import.meta.resolve("../../lib/config/http.ts")}";
    import { environment } from "${import.meta.resolve("../../lib/config/environment.ts")}";
    const system = await realSystem(() => Promise.resolve(httpSettings(environment, () => {})));
    const response = await system.fetch("http://${registry.host}/v2/");
    console.log(response.status, Deno.env.get("HTTP_PROXY"), Deno.env.get("NO_PROXY"));
    Deno.exit();
  `;
  const path = `${made.path}/script.ts`;
  Deno.writeTextFileSync(path, script);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--no-check",
      `--config=${new URL("../../deno.json", import.meta.url).pathname}`,
      path,
    ],
    env: { HTTP_PROXY: "http://127.0.0.1:1", NO_PROXY: "nothing.example" },
  }).output();
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(stdout), "200 http://127.0.0.1:1 nothing.example\n", decoder.decode(stderr));
});
