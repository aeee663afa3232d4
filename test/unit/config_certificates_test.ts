/** Which certificates are taken from which files, and what is said of those that cannot be used. */
import assert from "node:assert/strict";
import { hostCertificates, trustedRoots } from "../../lib/config/certificates.ts";
import { environment, withoutVariables } from "../../lib/config/environment.ts";
import { makeAuthority, makeClientCertificate } from "../lab/certificates.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { rejects } from "../lab/expect.ts";

async function lab() {
  const scratch = scratchDirectory("certificates"), { path } = scratch;
  const [one, two] = [await makeAuthority(path, "one"), await makeAuthority(path, "two")];
  const read = (name: string) => Deno.readTextFileSync(name);
  return { scratch, path, one, two, texts: { one: read(one.certificate), two: read(two.certificate) } };
}

async function roots(env: Record<string, string>, bundles: string[] = []): Promise<[string[], string[]]> {
  const warnings: string[] = [];
  return [await trustedRoots((name) => env[name], (text) => void warnings.push(text), bundles), warnings];
}

Deno.test("the first of the distributions' files is taken, SSL_CERT_FILE in its place, and SSL_CERT_DIR besides", async () => {
  const { scratch, path, one, two, texts } = await lab();
  await using _ = scratch;
  Deno.mkdirSync(`${path}/dir`);
  Deno.writeTextFileSync(`${path}/dir/two.pem`, `Bag Attributes\n${texts.two}`);
  Deno.symlinkSync("two.pem", `${path}/dir/0a1b2c3d.0`);
  Deno.writeTextFileSync(`${path}/dir/README`, "no certificate");
  const bundles = [`${path}/none`, one.certificate, two.certificate], none = `${path}/none`;
  assert.deepEqual(await roots({}, bundles), [[texts.one], []]);
  assert.deepEqual(await roots({}), [[], []]);
  assert.deepEqual(await roots({ SSL_CERT_FILE: two.certificate }, bundles), [[texts.two], []]);
  assert.deepEqual(await roots({ SSL_CERT_DIR: `${path}/dir:${none}` }, bundles), [[texts.one, texts.two], []]);
  assert.deepEqual(await roots({ SSL_CERT_FILE: none }, bundles), [[], [
    `SSL_CERT_FILE names ${none}, which cannot be read: no CA is taken from it.`,
  ]]);
});

Deno.test("a certificate that is none does not spoil the others; OpenSSL's form of its own is left out", async () => {
  const { scratch, path, texts } = await lab();
  await using _ = scratch;
  const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const own = texts.two.replaceAll("CERTIFICATE", "TRUSTED CERTIFICATE");
  Deno.writeTextFileSync(`${path}/bundle`, `${broken}${texts.one.replaceAll("\n", "\r\n")}${own}${texts.two}`);
  assert.deepEqual(await roots({ SSL_CERT_FILE: `${path}/bundle` }), [[texts.one, texts.two], [
    "1 of this machine's CA certificates cannot be read, and are left out.",
  ]]);
});

Deno.test("a host's directory: CAs, a client's certificate with its key; the port is part of its name", async () => {
  const { scratch, path, one, texts } = await lab();
  await using _ = scratch;
  const client = await makeClientCertificate(path, one), certs = `${path}/certs.d`, host = `${certs}/r.example:5000`;
  const tls = (name = "r.example:5000") => hostCertificates(name, [`${path}/none`, certs]);
  assert.deepEqual(await tls(), { ca: [] });
  Deno.mkdirSync(host, { recursive: true });
  Deno.writeTextFileSync(`${host}/hosts.toml`, "");
  assert.deepEqual(await tls(), { ca: [] });
  Deno.writeTextFileSync(`${host}/ca.crt`, `${texts.one}${texts.two}`);
  assert.deepEqual(await tls(), { ca: [texts.one, texts.two] });
  assert.deepEqual(await tls("r.example"), { ca: [] });
  Deno.copyFileSync(client.key, `${host}/client.key`);
  await rejects(() => tls(), "CONFIGURATION", `Cannot use ${host}/client.key: there is no client.cert beside it.`);
  Deno.copyFileSync(client.certificate, `${host}/client.cert`);
  const [cert, key] = [client.certificate, client.key].map((name) => Deno.readTextFileSync(name));
  assert.deepEqual(await tls(), { ca: [texts.one, texts.two], cert, key });
  Deno.removeSync(`${host}/client.key`);
  await rejects(
    () => tls(),
    "CONFIGURATION",
    `Cannot use ${host}/client.cert: there is no client.key beside it (CAs are named *.crt).`,
  );
  Deno.writeTextFileSync(`${host}/ca.crt`, "rubbish");
  await rejects(() => tls(), "CONFIGURATION", `Cannot use ${host}/ca.crt: it is no certificate in PEM form.`);
  // The first directory that holds something is the one that counts.
  Deno.mkdirSync(`${path}/first/r.example:5000`, { recursive: true });
  Deno.writeTextFileSync(`${path}/first/r.example:5000/ca.crt`, texts.two);
  assert.deepEqual(await hostCertificates("r.example:5000", [`${path}/first`, certs]), { ca: [texts.two] });
});

Deno.test("withoutVariables() takes variables away for a moment, and gives them back whatever happens", () => {
  Deno.env.set("COS_TEST_A", "a");
  const names = ["COS_TEST_A", "COS_TEST_B"];
  assert.deepEqual(withoutVariables(names, () => names.map(environment)), [undefined, undefined]);
  assert.throws(() =>
    withoutVariables(names, () => {
      throw new Error("x");
    }), { message: "x" });
  assert.deepEqual(names.map(environment), ["a", undefined]);
  Deno.env.delete("COS_TEST_A");
});

Deno.test("a mounted secret's link to a directory among certificates is passed over", async () => {
  await using scratch = scratchDirectory("certificates");
  const { path } = scratch;
  Deno.mkdirSync(`${path}/..2026`);
  Deno.symlinkSync("..2026", `${path}/..data`);
  const warnings: string[] = [], env = (name: string) => name === "SSL_CERT_DIR" ? path : undefined;
  assert.deepEqual(await trustedRoots(env, (text) => warnings.push(text), []), []);
  assert.deepEqual(warnings, []);
});
