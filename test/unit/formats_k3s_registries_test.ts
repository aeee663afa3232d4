/** `registries.yaml` of k3s and rke2: what is read of it, and what is refused by name. */
import assert from "node:assert/strict";
import { parseK3sRegistries, rewritten } from "../../lib/formats/k3s-registries.ts";
import { fails } from "../lab/expect.ts";

Deno.test("registries.yaml of k3s: mirrors, rewrites, logins, certificates", () => {
  const { mirrors, configs } = parseK3sRegistries(
    `
# as in the manual
mirrors:
  docker.io:
    endpoint:
      - "https://mirror.example:5000"
      - http://plain.example/v2
      - mirror.example:5000        # the first one again
      - localhost:5001
      - harbor.example/v2/proxy/
    rewrite:
      "^rancher/(.*)": "mirrorproject/rancher-images/$1"
      "^library/": ""
  "*":
  quay.io: &none {}
configs:
  "mirror.example:5000":
    auth: { username: user, password: 0123 }
    tls:
      cert_file: /c.crt
      key_file: /c.key
      ca_file: /ca.crt
  plain.example:
    auth:
      auth: dXNlcjpwYXNzOndvcmQ=
  token.example:
    auth:
      identity_token: t
    tls:
      insecure_skip_verify: yes
  none.example: *none
`,
    "/r.yaml",
  );
  const hub = mirrors.get("docker.io");
  assert.deepEqual(hub?.endpoints, [
    { origin: "https://mirror.example:5000", apiPath: "/v2" },
    { origin: "http://plain.example", apiPath: "/v2" },
    { origin: "http://localhost:5001", apiPath: "/v2" },
    { origin: "https://harbor.example", apiPath: "/v2/proxy" },
  ]);
  assert.equal(rewritten("rancher/pause", hub.rewrites), "mirrorproject/rancher-images/pause");
  assert.equal(rewritten("library/busybox", hub.rewrites), "busybox");
  assert.equal(rewritten("team/os", hub.rewrites), "team/os");
  assert.deepEqual(mirrors.get("*"), { endpoints: [], rewrites: [] });
  assert.deepEqual(configs.get("mirror.example:5000"), {
    credentials: { username: "user", password: "0123" },
    tls: { ca: "/ca.crt", cert: "/c.crt", key: "/c.key", skipVerify: false },
  });
  assert.deepEqual(configs.get("plain.example")?.credentials, { username: "user", password: "pass:word" });
  assert.deepEqual(configs.get("token.example"), {
    credentials: { username: "", password: "", identityToken: "t" },
    tls: { skipVerify: true },
  });
  assert.deepEqual(configs.get("none.example"), { credentials: undefined, tls: undefined });
});

Deno.test("registries.yaml: a file of nothing says nothing", () => {
  for (const text of ["", "# nothing\n", "---\n", "{}", "mirrors:\nconfigs:\n", "mirrors: ~\n", "other: 1\n"]) {
    const { mirrors, configs } = parseK3sRegistries(text, "/r.yaml");
    assert.deepEqual([mirrors.size, configs.size], [0, 0], text);
  }
});

Deno.test("registries.yaml: keys that are merged", () => {
  const { mirrors } = parseK3sRegistries(
    `base: &base\n  endpoint: [https://m.example]\nmirrors:\n  a.example:\n    <<: *base\n    rewrite: { "^": "x/" }\n`,
    "/r.yaml",
  );
  assert.deepEqual(mirrors.get("a.example")?.endpoints, [{ origin: "https://m.example", apiPath: "/v2" }]);
});

Deno.test("registries.yaml: what is wrong with it", () => {
  const refused = (text: string, why: string) =>
    fails(() => parseK3sRegistries(text, "/r.yaml"), "CONFIGURATION", `Cannot use /r.yaml${why}.`);
  refused("mirrors:\n  a: [\n", ", line 3: deficient indentation");
  refused("mirrors:\n  a: {}\n  a: {}\n", ", line 3: duplicated mapping key");
  refused("mirrors: [a]\n", ': "mirrors" must be a table');
  refused("mirrors:\n  a:\n    endpoint: https://b\n", ': "mirrors.a.endpoint" must be a list');
  refused("mirrors:\n  a:\n    endpoint: ['ftp://b']\n", ': "ftp://b" is no URL of a host');
  refused(
    "mirrors:\n  a:\n    rewrite: { '(?=x)': 'y' }\n",
    ': cannot use the pattern "(?=x)" under "rewrite": invalid or unsupported Perl syntax: `(?=`',
  );
  refused(
    "configs:\n  a:\n    tls: { cert_file: /c }\n",
    ': the host "a" has one of cert_file and key_file, and not both',
  );
  refused(
    "configs:\n  a:\n    tls: { insecure_skip_verify: maybe }\n",
    ': insecure_skip_verify of the host "a" is "maybe", not true or false',
  );
  refused("configs:\n  a:\n    auth: { auth: '%' }\n", ': "auth" of the host "a" is not USER:PASSWORD in base64');
});
