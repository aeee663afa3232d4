/** The static file itself, pulling as sites make it pull: over TLS with their own CA, through their proxy, with a login. */
import assert from "node:assert/strict";
import { labMachine, runProgram } from "../lab/machine.ts";
import { startProxy } from "../lab/proxy.ts";
import { LOGIN, LOGIN_HEADER } from "../lab/pulling.ts";
import { startRegistry } from "../lab/registry.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";

Deno.test("a system comes through a proxy, from a registry with a CA of its own that wants a login", async () => {
  await using machine = await labMachine();
  await using registry = await startRegistry({
    tls: true,
    names: ["registry.test"],
    user: { name: LOGIN.username, password: LOGIN.password },
  });
  const layout = `${machine.directory}/os`, { v1 } = writeSmallOs(layout, { v1: {} });
  await registry.push(layout, "v1", "demo/os:v1");
  await using proxy = await startProxy({ "registry.test:443": registry.port });
  proxy.wants = LOGIN_HEADER;
  const program = await staticFile(), logins = `${machine.directory}/logins.json`;
  const address = proxy.url.replace("//", "//user:pass%3Aword@");
  const cos = (env: Record<string, string>, ...flags: string[]) => {
    const words = [
      "deploy",
      "registry.test/demo/os:v1",
      "--no-verify",
      "--state",
      machine.state,
      "--size",
      "32",
      ...flags,
    ];
    return runProgram(program, words, env);
  };
  const trusting = { HTTPS_PROXY: address, SSL_CERT_FILE: registry.caFile ?? "" };

  const unknown = await cos({ HTTPS_PROXY: address });
  assert.equal(unknown.status, 12);
  assert.match(
    unknown.err,
    /^Error: Cannot reach the registry registry\.test: it has no certificate that this machine trusts/m,
  );

  const anonymous = await cos(trusting);
  assert.equal(anonymous.status, 13);
  assert.match(anonymous.err, /^ {2}Put a login for registry\.test into/m);

  // A helper that is not there is warned of, and the file's own login is taken.
  const auth = btoa(`${LOGIN.username}:${LOGIN.password}`);
  Deno.writeTextFileSync(logins, JSON.stringify({ credsStore: "lab-has-none", auths: { "registry.test": { auth } } }));
  const deployed = await cos(trusting, "--auth-file", logins);
  assert.equal(deployed.status, 0, deployed.err);
  assert.match(
    deployed.err,
    /^Warning: The login for registry\.test is left out: docker-credential-lab-has-none is not installed\.$/m,
  );
  const { out } = await machine.must("status", "--json");
  assert.equal(JSON.parse(out).slots[0].digest, v1);
  assert.ok(proxy.seen.length > 0 && proxy.seen.every((line) => line === "CONNECT registry.test:443"));
});
