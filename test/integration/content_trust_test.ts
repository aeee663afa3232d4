/** Docker Content Trust by a real notary-server: what its client publishes, rotates and takes back, read over HTTP. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { CosError } from "../../lib/base/errors.ts";
import { httpSettings } from "../../lib/config/http.ts";
import type { KnownTrust } from "../../lib/formats/known-trust.ts";
import { pemBlocks } from "../../lib/formats/pem.ts";
import { parseReference, type RegistryReference } from "../../lib/formats/reference.ts";
import { parseCertificate } from "../../lib/formats/x509.ts";
import { defaultServer, trustFiles } from "../../lib/oci/content-trust.ts";
import { realSystem } from "../../lib/system/system.ts";
import type { Pin } from "../../lib/trust/content-trust/pin.ts";
import { contentTrustSource } from "../../lib/trust/content-trust/source.ts";
import { makeAuthority, makeCertificates } from "../lab/certificates.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { type Notary, PASSPHRASE, startNotary } from "../lab/notary.ts";
import { run } from "../lab/run.ts";
import { certifiedKey, makeTrust, trustKey } from "../lab/signing/content-trust.ts";
import { copyOf, serveTrust } from "../lab/trust-server.ts";

const GUN = "registry.example.org/os/base", REFERENCE = parseReference(`${GUN}:v1`) as RegistryReference;
const V1 = new TextEncoder().encode("manifest 1"), V2 = new TextEncoder().encode("the manifest 2");
const DAY = 86_400_000;

interface Asked {
  /** Ids of root keys, or whom the policy names in their place. */
  pins: string[] | Pin;
  known?: KnownTrust | undefined;
  now?: Date;
  system?: Parameters<typeof trustFiles>[2];
  hostTls?: Parameters<typeof trustFiles>[3]["hostTls"];
}

/** Which role signs which of the two manifests for the tags, or why nothing counts. */
async function ask(server: string, { pins, known, now = new Date(), system, hostTls }: Asked) {
  const file = await trustFiles(REFERENCE, GUN, system ?? await realSystem(), {
    ...{ server, userAgent: "cos/test", hostTls, credentials: () => Promise.resolve({ username: "u", password: "p" }) },
  });
  const pin = Array.isArray(pins) ? { keyIds: pins } : pins;
  const found = await contentTrustSource(server, pin, 20).read(GUN, known, now, file);
  if (!("known" in found)) return { said: found.reason, known };
  const of = (tag: string) => {
    const target = found.find(tag);
    return target === undefined ? "none" : `${target.role} ${target.length}`;
  };
  return { said: `v1: ${of("v1")}, v2: ${of("v2")}`, known: found.known };
}

async function published(): Promise<{ notary: Notary; pins: string[] }> {
  const notary = await startNotary();
  try {
    await notary.notary("init", GUN, "-p");
    await notary.sign(GUN, "v1", V1);
    return { notary, pins: [await notary.rootKeyId(GUN)] };
  } catch (thrown) {
    await notary[Symbol.asyncDispose]();
    throw thrown;
  }
}

Deno.test("what notary publishes is read: targets, a delegation, and its removal", async () => {
  const { notary, pins } = await published();
  await using _ = notary;
  const first = await ask(notary.url, { pins });
  assert.equal(first.said, "v1: targets 10, v2: none");
  assert.deepEqual(first.known?.root.version, 1);
  await notary.delegate(GUN);
  assert.equal((await ask(notary.url, { pins, known: first.known })).said, "v1: targets 10, v2: none");
  await notary.sign(GUN, "v1", V2, "targets/releases");
  await notary.sign(GUN, "v2", V2, "targets/releases");
  const second = await ask(notary.url, { pins, known: first.known });
  assert.equal(second.said, "v1: targets/releases 14, v2: targets/releases 14");
  // Notary's own reader sees the same, when it is told to look as Docker does.
  assert.match(
    await notary.notary("list", GUN, "-r", "targets/releases", "-r", "targets"),
    /v1 .* 14 +targets\/releases\nv2 .* 14 +targets\/releases/,
  );
  await notary.notary("remove", GUN, "v1", "-r", "targets/releases", "-p");
  assert.equal((await ask(notary.url, { pins, known: second.known })).said, "v1: targets 10, v2: targets/releases 14");
  await notary.notary("delegation", "remove", GUN, "targets/releases", "--all-paths", "-y", "-p");
  const third = await ask(notary.url, { pins, known: second.known });
  assert.equal(third.said, "v1: targets 10, v2: none");
  // The role begins anew, and a machine that has seen the one before goes on.
  await notary.delegate(GUN);
  await notary.sign(GUN, "v2", V2, "targets/releases");
  for (const known of [second.known, third.known]) {
    assert.equal((await ask(notary.url, { pins, known })).said, "v1: targets 10, v2: targets/releases 14");
  }
  // The id that `notary key list` shows is the key's without its certificate.
  const shown = /^root +([0-9a-f]{64})/m.exec(await notary.notary("key", "list"))?.[1] ?? "";
  assert.notEqual(shown, pins[0]);
  assert.equal((await ask(notary.url, { pins: [shown] })).said, "v1: targets 10, v2: targets/releases 14");
  assert.match(
    (await ask(notary.url, { pins: ["0".repeat(64)] })).said,
    /by the keys that the policy pins, is signed by 0/,
  );
});

Deno.test("keys of every role are rotated, by the server and by its client", async () => {
  const { notary, pins } = await published();
  await using _ = notary;
  const { known } = await ask(notary.url, { pins });
  await notary.delegate(GUN);
  await notary.sign(GUN, "v2", V2, "targets/releases");
  for (const words of [["snapshot", "-r"], ["targets"], ["root"], ["timestamp", "-r"], ["root"]]) {
    await notary.notary("key", "rotate", GUN, ...words);
    await notary.sign(GUN, "v1", V1);
    for (const one of [undefined, known]) {
      assert.equal(
        (await ask(notary.url, { pins, known: one })).said,
        "v1: targets 10, v2: targets/releases 14",
        words[0],
      );
    }
  }
  const last = await ask(notary.url, { pins, known });
  assert.equal(last.known?.root.version, 6);
  assert.equal((await ask(notary.url, { pins: [await notary.rootKeyId(GUN)] })).said, last.said);
  // Another person's key in place of the first.
  await notary.delegate(GUN);
  await notary.sign(GUN, "v1", V2, "targets/releases");
  assert.equal(
    (await ask(notary.url, { pins, known: last.known })).said,
    "v1: targets/releases 14, v2: targets/releases 14",
  );
});

Deno.test("a root key whose certificate a CA has issued for the repository", async () => {
  await using made = new AsyncDisposableStack();
  const notary = made.use(await startNotary()), { path } = made.use(scratchDirectory("trust-ca"));
  const [ca, other] = [await makeAuthority(path, "ca"), await makeAuthority(path, "other")];
  const key = join(path, "root.key"), certificate = join(path, "root.crt"), secret = `pass:${PASSPHRASE}`;
  await run("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", `${key}.open`]);
  await run("openssl", ["ec", "-aes256", "-passout", secret, "-in", `${key}.open`, "-out", key]);
  await run("openssl", [
    ...["req", "-x509", "-key", key, "-passin", secret, "-CA", ca.certificate, "-CAkey", ca.key, "-days", "6"],
    ...["-subj", `/CN=${GUN.replaceAll("/", "\\/")}`, "-out", certificate],
    ...["-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=codeSigning"],
    ...["-addext", "basicConstraints=critical,CA:FALSE"],
  ]);
  await notary.notary("init", GUN, "--rootkey", key, "--rootcert", certificate, "-p");
  await notary.sign(GUN, "v1", V1);
  const certificateOf = (file: string) =>
    pemBlocks(Deno.readTextFileSync(file), "CERTIFICATE", 1).map((der) => parseCertificate(der));
  const said = async (pins: Pin) => (await ask(notary.url, { pins })).said;
  assert.equal(await said({ authorities: certificateOf(ca.certificate) }), "v1: targets 10, v2: none");
  assert.equal(await said({ certificates: certificateOf(certificate) }), "v1: targets 10, v2: none");
  assert.match(await said({ authorities: certificateOf(other.certificate) }), /the policy pins, is signed by 0/);
});

Deno.test("a server that goes back to an older copy, or hands out nothing newer, is refused", async () => {
  const { notary, pins } = await published();
  await using _ = notary;
  const old = await copyOf(notary, GUN);
  await notary.sign(GUN, "v2", V2);
  const { known } = await ask(notary.url, { pins });
  await using server = serveTrust(old);
  assert.equal((await ask(server.url, { pins })).said, "v1: targets 10, v2: none");
  assert.match(
    (await ask(server.url, { pins, known })).said,
    /^the timestamp of .* is older than the one that this machine has seen before: expected version \d+ or later, found \d+$/,
  );
  const frozen = await ask(notary.url, { pins, known, now: new Date(Date.now() + 15 * DAY) });
  assert.match(frozen.said, /^the timestamp of .* has expired: it was good until /);
  await notary.notary("key", "rotate", GUN, "root");
  const rotated = await ask(notary.url, { pins, known });
  assert.match(
    (await ask(server.url, { pins, known: rotated.known })).said,
    /^the root of .* is older than the one that this machine has seen before: expected version 2 or later, found version 1$/,
  );
});

async function signedFiles() {
  const root = await certifiedKey(GUN), role = { keys: [await trustKey("ed25519")] };
  const files = await makeTrust({
    ...{ now: new Date(), targets: { v1: V1 } },
    roots: [{ root: { keys: [root] }, targets: role, snapshot: role, timestamp: role }],
  });
  return { files, pins: [root.id] };
}

Deno.test("a trust server's certificate is one that the machine has for its host", async () => {
  await using made = new AsyncDisposableStack();
  const { files, pins } = await signedFiles(), { path } = made.use(scratchDirectory("trust-tls"));
  const certificates = await makeCertificates(path), server = made.use(serveTrust(files, certificates));
  const system = await realSystem(() => Promise.resolve(httpSettings(() => undefined, () => {})));
  const ca = [Deno.readTextFileSync(certificates.ca)], hosts: string[] = [];
  const hostTls = (host: string) => {
    hosts.push(host);
    return Promise.resolve({ ca });
  };
  assert.equal((await ask(server.url, { pins, system, hostTls })).said, "v1: targets 10, v2: none");
  assert.deepEqual(hosts, [new URL(server.url).host]);
  await assert.rejects(ask(server.url, { pins, system }), { message: /has no certificate that this machine trusts/ });
});

Deno.test("a trust server asks for a login as a registry does, and what it sends has bounds", async () => {
  const { files, pins } = await signedFiles();
  await using server = serveTrust(files);
  const path = `/v2/${GUN}/_trust/tuf/`, basic = `Basic ${btoa("u:p")}`;
  server.instead = (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/token") {
      assert.equal(searchParams.get("scope"), `repository:${GUN}:pull`);
      return Response.json({ token: "lab" });
    }
    if (request.headers.get("authorization") === "Bearer lab") return undefined;
    const challenge = `Bearer realm="${server.url}/token",service="notary",scope="repository:${GUN}:pull"`;
    return new Response("{}", { status: 401, headers: { "www-authenticate": challenge } });
  };
  assert.equal((await ask(server.url, { pins })).said, "v1: targets 10, v2: none");
  assert.deepEqual(server.seen.slice(0, 4), [
    `${path}root.json -`,
    `/token ${basic}`,
    `${path}root.json Bearer lab`,
    `${path}2.root.json Bearer lab`,
  ]);

  const fails = async (instead: NonNullable<typeof server.instead>) => {
    server.instead = instead;
    const { said } = await ask(server.url, { pins }).catch((thrown: CosError) => ({
      said: `${thrown.code} ${thrown.message}`,
    }));
    return said.replaceAll(server.url.slice(7), "HOST");
  };
  assert.equal(
    await fails(() => new Response("{}", { status: 403 })),
    `UNAUTHORIZED Cannot read the content trust of ${GUN}: the trust server HOST refuses access.`,
  );
  assert.equal(
    await fails(() => new Response("{}", { status: 418 })),
    `REGISTRY_ERROR Cannot pull the content trust of ${GUN}: the trust server HOST answered the request for a file of content trust with status 418.`,
  );
  assert.equal(
    await fails(() => new Response(new Uint8Array(512 * 1024 + 1))),
    `REGISTRY_ERROR Refused root.json of ${GUN}: it is longer than 524288 bytes.`,
  );
  assert.equal(await fails(() => new Response("")), `the root of ${GUN} cannot be read: it is no JSON`);
  server.instead = undefined;
  const system = await realSystem(), waited: number[] = [];
  let broken = 0;
  const flaky = {
    ...system,
    wait: (milliseconds: number) => Promise.resolve(void waited.push(milliseconds)),
    fetch: (...request: Parameters<typeof fetch>) => {
      if (++broken > 2) return fetch(...request);
      return Promise.resolve(new Response(new ReadableStream({ start: (body) => body.error(new Error("cut")) })));
    },
  };
  assert.equal((await ask(server.url, { pins, system: flaky })).said, "v1: targets 10, v2: none");
  assert.equal(waited.length, 2);
});

Deno.test("the server belongs to the registry, unless the policy names one", () => {
  assert.equal(defaultServer({ host: "docker.io" }), "https://notary.docker.io");
  assert.equal(defaultServer({ host: "registry.example.org:5000" }), "https://registry.example.org:5000");
  assert.equal(defaultServer({ host: "127.0.0.1:5000" }), "http://127.0.0.1:5000");
});
