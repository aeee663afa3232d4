/** Mirrors as each kind of configuration has them, against registries that note what they are asked. */
import assert from "node:assert/strict";
import { makeAuthority, makeClientCertificate } from "../lab/certificates.ts";
import { rejectionOf, rejects } from "../lab/expect.ts";
import { challenge, fakeRegistry } from "../lab/fake-registry.ts";
import { labMachine, runProgram } from "../lab/machine.ts";
import { askedOf, mirroredMachine, storeImage } from "../lab/mirrored.ts";
import { LOGIN, LOGIN_HEADER } from "../lab/pulling.ts";
import { startRegistry } from "../lab/registry.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";

const CONF = "/etc/containers/registries.conf";

function pulled(repository: string, tag: string, query = ""): string[] {
  return [`manifests/${tag}`, "blobs/…", "blobs/…"].map((what) => `/v2/${repository}/${what}${query}`);
}

Deno.test("registries.conf: the mirror first, under its own name; what it lacks comes from the registry", async () => {
  await using mirror = fakeRegistry();
  await using registry = fakeRegistry();
  await using machine = mirroredMachine();
  const digest = storeImage(mirror, "both", "v1");
  storeImage(registry, "both", "v1");
  const second = storeImage(registry, "only here", "v2");
  machine.write(
    CONF,
    `[[registry]]\nlocation = "${registry.host}/team"\n[[registry.mirror]]\nlocation = "${mirror.host}/mirrored/of"\n`,
  );
  const name = `${registry.host}/team/os`;
  assert.deepEqual(await machine.pull(`${name}:v1`), { digest, warnings: [] });
  assert.deepEqual(askedOf(mirror), pulled("mirrored/of/os", "v1"));
  assert.deepEqual(askedOf(registry), []);

  const fallback = await machine.pull(`${name}:v2`);
  assert.equal(fallback.digest, second);
  assert.match(
    fallback.warnings[0] ?? "",
    new RegExp(`^Cannot find ${name}:v2: ${mirror.host} has no such image. Asking ${registry.host} instead.$`),
  );
  assert.equal(askedOf(registry).length, 3);

  // Another namespace of the host is not mirrored.
  assert.equal(await machine.endpoints(`${registry.host}/other/os:v1`), undefined);
});

Deno.test("registries.conf: mirrors for digests or for tags alone, drop-ins, and what is blocked", async () => {
  await using machine = mirroredMachine();
  machine.write(
    CONF,
    `[[registry]]
location = "a.example"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
[[registry]]
location = "b.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "digests.example"
[[registry]]
location = "c.example"
blocked = true
`,
  );
  const digest = `@sha256:${"0".repeat(64)}`;
  assert.deepEqual(await machine.endpoints("a.example/os:v1"), [
    "https://tags.example/v2 os",
    "https://a.example/v2 os",
  ]);
  assert.deepEqual(await machine.endpoints(`a.example/os:v1${digest}`), [
    "https://digests.example/v2 os",
    "https://a.example/v2 os",
  ]);
  assert.deepEqual(await machine.endpoints("b.example/os:v1"), ["https://b.example/v2 os"]);
  assert.equal((await machine.endpoints(`b.example/os${digest}`))?.length, 2);
  await rejects(
    () => machine.pull("c.example/os:v1"),
    "BLOCKED",
    `Refused c.example/os: ${machine.root}${CONF} blocks c.example.`,
  );
  machine.write(
    `${CONF}.d/10-c.conf`,
    `[[registry]]\nlocation = "c.example"\n[[registry.mirror]]\nlocation = "m.example"\n`,
  );
  machine.write(`${CONF}.d/README`, "this is no configuration");
  assert.deepEqual(await machine.endpoints("c.example/os:v1"), ["https://m.example/v2 os", "https://c.example/v2 os"]);
  machine.write(`${CONF}.d/20.conf`, "[[registry]\n");
  const { code, message } = await rejectionOf(() => machine.endpoints("x.example/os:v1"));
  assert.equal(code, "CONFIGURATION");
  assert.ok(message.startsWith(`Cannot use ${machine.root}${CONF}.d/20.conf, line 1: `), message);
});

Deno.test("registries.conf: a host that is insecure may speak TLS by a certificate of nobody's, or none at all", async () => {
  await using plain = fakeRegistry();
  await using secret = await startRegistry({ tls: true });
  await using machine = mirroredMachine();
  for (const host of [plain.host, secret.host]) {
    machine.write(
      CONF,
      `[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "${host}"\ninsecure = true\n`,
    );
    const [first] = await machine.endpoints("a.example/os:v1") ?? [];
    assert.equal(first, `${host === plain.host ? "http" : "https"}://${host}/v2 os`);
  }
  const { message } = await rejectionOf(() => machine.pull("a.example/os:v1"));
  assert.ok(message.includes(`Cannot find a.example/os:v1: ${secret.host} has no such image.`), message);
});

Deno.test("registries.conf: CONTAINERS_REGISTRIES_CONF names another file, and must be right", async () => {
  await using other = mirroredMachine();
  await using machine = mirroredMachine({ CONTAINERS_REGISTRIES_CONF: `${other.root}/r.conf` });
  machine.write(CONF, `[[registry]]\nlocation = "a.example"\nblocked = true\n`);
  await rejects(
    () => machine.endpoints("a.example/os:v1"),
    "CONFIGURATION",
    `Cannot use ${other.root}/r.conf: it is what CONTAINERS_REGISTRIES_CONF names, and does not exist.`,
  );
  other.write("/r.conf", `[[registry]]\nlocation = "a.example"\n`);
  assert.deepEqual(await machine.endpoints("a.example/os:v1"), ["https://a.example/v2 os"]);
});

Deno.test("hosts.toml: a mirror is told whose it is, gets its own headers, and only what it may be asked", async () => {
  await using full = fakeRegistry();
  await using digests = fakeRegistry();
  await using registry = fakeRegistry();
  await using machine = mirroredMachine();
  const digest = storeImage(registry, "x", "v1");
  for (const mirror of [full, digests]) storeImage(mirror, "x", "v1");
  const directory = `/etc/containerd/certs.d/${registry.host.replace(":", "_")}_`;
  const headers: (string | null)[] = [];
  for (const one of [full, digests, registry]) {
    one.answer = (request) => {
      headers.push(request.headers.get("x-mirror"));
      return undefined;
    };
  }
  machine.write(
    `${directory}/hosts.toml`,
    `[host."http://${digests.host}/v2/prefix"]
capabilities = ["pull"]
[host."http://${digests.host}/v2/prefix".header]
x-mirror = "yes"
[host."http://${full.host}"]
capabilities = ["push"]
`,
  );
  const name = `${registry.host}/team/os`, ns = `?ns=${encodeURIComponent(registry.host)}`;
  assert.deepEqual(await machine.pull(`${name}:v1`), { digest, warnings: [] });
  // What the tag means is asked at the registry; what is named by its digest comes from the mirror.
  assert.deepEqual(askedOf(registry), ["/v2/team/os/manifests/v1"]);
  assert.deepEqual(askedOf(digests), [`/v2/prefix/v2/team/os/blobs/…${ns}`, `/v2/prefix/v2/team/os/blobs/…${ns}`]);
  assert.deepEqual(headers.splice(0), [null, "yes", "yes"]);
  assert.equal((await machine.pull(`${name}@${digest}`)).digest, digest);
  assert.deepEqual(askedOf(registry), []);
  assert.equal(askedOf(digests).length, 3);
  assert.deepEqual(askedOf(full), []);

  // One that may be asked for tags too, with a path in the place of /v2; and what stands in the registry's place.
  machine.write(
    `${directory}/hosts.toml`,
    `server = "http://${full.host}"\n[host."http://${registry.host}/v2/"]\noverride_path = true\n`,
  );
  assert.deepEqual(await machine.pull(`${name}:v1`), { digest, warnings: [] });
  assert.deepEqual(askedOf(registry), pulled("team/os", "v1"));
  assert.deepEqual(await machine.endpoints(`${name}:v1`), [
    `http://${registry.host}/v2 team/os`,
    `http://${full.host}/v2 team/os`,
  ]);
});

Deno.test("hosts.toml: _default stands for all hosts without a directory, HOST_PORT_ before HOST:PORT", async () => {
  await using machine = mirroredMachine();
  const root = "/etc/containerd/certs.d";
  assert.equal(await machine.endpoints("a.example/os:v1"), undefined);
  machine.write(`${root}/_default/hosts.toml`, `[host."https://all.example"]\n`);
  machine.write(`${root}/b.example:5000/hosts.toml`, `[host."https://colon.example"]\n`);
  machine.write(`${root}/c.example_5000_/hosts.toml`, `[host."https://line.example"]\n`);
  machine.write(`${root}/c.example:5000/hosts.toml`, `[host."https://colon.example"]\n`);
  machine.write(`${root}/docker.io/hosts.toml`, `[host."https://hub.example"]\n`);
  const first = async (name: string) => (await machine.endpoints(name))?.map((text) => text.replace(/\/v2 .*/, ""));
  assert.deepEqual(await first("a.example/os:v1"), ["https://all.example", "https://a.example"]);
  assert.deepEqual(await first("b.example:5000/os:v1"), ["https://colon.example", "https://b.example:5000"]);
  assert.deepEqual(await first("c.example:5000/os:v1"), ["https://line.example", "https://c.example:5000"]);
  assert.deepEqual(await first("busybox:1"), ["https://hub.example", "https://registry-1.docker.io"]);
});

Deno.test("hosts.toml: a host's own CA, a client's certificate in one file or in two, no verification at all", async () => {
  await using machine = mirroredMachine();
  const authority = await makeAuthority(machine.root, "clients");
  const client = await makeClientCertificate(machine.root, authority);
  await using registry = await startRegistry({ tls: true, clientCas: [authority.certificate] });
  const directory = `/etc/containerd/certs.d/${registry.host}`, read = Deno.readTextFileSync;
  const missing = async () => (await rejectionOf(() => machine.pull(`${registry.host}/team/os:v1`))).message;
  const found = `Cannot find ${registry.host}/team/os:v1: the registry has no such image.`;

  machine.write(
    `${directory}/hosts.toml`,
    `server = "https://${registry.host}"\nca = "ca.crt"\nclient = [["c.pem", "k.pem"]]\n`,
  );
  assert.equal(
    await missing(),
    `Cannot use ${machine.root}${directory}/ca.crt, which ${machine.root}${directory}/hosts.toml names: it does not exist.`,
  );
  machine.write(`${directory}/ca.crt`, read(registry.caFile ?? ""));
  machine.write(`${directory}/c.pem`, read(client.certificate));
  machine.write(`${directory}/k.pem`, read(client.key));
  assert.equal(await missing(), found);
  machine.write(`${directory}/both.pem`, read(client.certificate) + read(client.key));
  machine.write(
    `${directory}/hosts.toml`,
    `server = "https://${registry.host}"\nca = ["ca.crt"]\nclient = "both.pem"\n`,
  );
  assert.equal(await missing(), found);
  machine.write(
    `${directory}/hosts.toml`,
    `server = "https://${registry.host}"\nskip_verify = true\nclient = ["both.pem"]\n`,
  );
  assert.equal(await missing(), found);
  // A loopback host is plain, unless there is something about TLS for it.
  machine.write(`${directory}/hosts.toml`, `ca = "/ca.crt"\nclient = "/both.pem"\n`);
  machine.write("/ca.crt", read(registry.caFile ?? ""));
  machine.write("/both.pem", read(client.certificate) + read(client.key));
  assert.equal(await missing(), found);

  // Without a hosts.toml: Docker's names.
  Deno.removeSync(`${machine.root}${directory}/hosts.toml`);
  for (const name of ["c.pem", "k.pem", "both.pem"]) Deno.removeSync(`${machine.root}${directory}/${name}`);
  machine.write(`${directory}/client.cert`, read(client.certificate));
  machine.write(`${directory}/client.key`, read(client.key));
  assert.deepEqual(await machine.endpoints(`${registry.host}/team/os:v1`), [`https://${registry.host}/v2 team/os`]);
  assert.equal(await missing(), found);
});

Deno.test("registries.yaml: names are rewritten for mirrors and not for the registry, logins and CAs are each host's own", async () => {
  await using mirror = fakeRegistry();
  await using registry = fakeRegistry();
  await using machine = mirroredMachine();
  const digest = storeImage(mirror, "x", "v1"), second = storeImage(registry, "y", "v2");
  machine.write(
    "/etc/rancher/k3s/registries.yaml",
    `mirrors:
  "${registry.host}":
    endpoint: ["http://${mirror.host}"]
    rewrite:
      "^team/(.*)": "proxied/$1"
  "*":
    endpoint: [https://all.example/v2/cache]
configs:
  "${mirror.host}":
    auth: { username: ${LOGIN.username}, password: "${LOGIN.password}" }
`,
  );
  mirror.answer = ({ headers }) =>
    headers.get("authorization") === LOGIN_HEADER ? undefined : challenge('Basic realm="m"');
  const logins: (string | null)[] = [];
  registry.answer = ({ headers }) => {
    logins.push(headers.get("authorization"));
    return undefined;
  };
  const name = `${registry.host}/team/os`, ns = `?ns=${encodeURIComponent(registry.host)}`;
  assert.deepEqual(await machine.pull(`${name}:v1`), { digest, warnings: [] });
  assert.deepEqual(askedOf(mirror).slice(1), pulled("proxied/os", "v1", ns));
  assert.deepEqual(askedOf(registry), []);
  assert.equal((await machine.pull(`${name}:v2`)).digest, second);
  assert.deepEqual(askedOf(registry), pulled("team/os", "v2"));
  assert.deepEqual(new Set(logins), new Set([null]));
  assert.deepEqual(await machine.endpoints("a.example/os:v1"), [
    "https://all.example/v2/cache os",
    "https://a.example/v2 os",
  ]);
});

Deno.test("registries.yaml: certificates of the registry itself, also where it has no mirror; rke2's file after k3s's", async () => {
  await using registry = await startRegistry({ tls: true });
  await using machine = mirroredMachine();
  machine.write("/etc/rancher/k3s/registries.yaml", "mirrors:\n  docker.io:\n    endpoint: [m.example]\n");
  const missing = async () => (await rejectionOf(() => machine.pull(`${registry.host}/team/os:v1`))).message;
  for (const tls of ["ca_file: /etc/ca.crt", "insecure_skip_verify: true"]) {
    machine.write("/etc/rancher/rke2/registries.yaml", `configs:\n  "${registry.host}":\n    tls: { ${tls} }\n`);
    machine.write("/etc/ca.crt", Deno.readTextFileSync(registry.caFile ?? ""));
    assert.equal(await missing(), `Cannot find ${registry.host}/team/os:v1: the registry has no such image.`);
  }
  assert.deepEqual(await machine.endpoints("busybox:1"), [
    "https://m.example/v2 library/busybox",
    "https://registry-1.docker.io/v2 library/busybox",
  ]);
  assert.equal(await machine.endpoints("other.example/os:v1"), undefined);
});

Deno.test("registries.yaml: a rewritten name that is none, and the registry that stands last in its own list", async () => {
  await using machine = mirroredMachine();
  machine.write(
    "/etc/rancher/k3s/registries.yaml",
    `mirrors:
  a.example: { endpoint: [m.example], rewrite: { "^": "../" } }
  b.example: { endpoint: [m.example, b.example], rewrite: { "^": "x/" } }
`,
  );
  await rejects(
    () => machine.endpoints("a.example/os:v1"),
    "CONFIGURATION",
    `Cannot use ${machine.root}/etc/rancher/k3s/registries.yaml: it rewrites os to no repository's name.`,
  );
  assert.deepEqual(await machine.endpoints("b.example/os:v1"), [
    "https://m.example/v2 x/os",
    "https://b.example/v2 x/os",
  ]);
});

Deno.test("only the first kind of configuration that says something about the image counts", async () => {
  await using machine = mirroredMachine();
  const first = async (name: string) => (await machine.endpoints(`${name}/os:v1`))?.[0];
  machine.write("/etc/rancher/k3s/registries.yaml", `mirrors: { "*": { endpoint: [k3s.example] } }\n`);
  assert.equal(await first("a.example"), "https://k3s.example/v2 os");
  machine.write("/etc/containerd/certs.d/a.example/hosts.toml", `[host."https://containerd.example"]\n`);
  assert.equal(await first("a.example"), "https://containerd.example/v2 os");
  machine.write(CONF, `[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "containers.example"\n`);
  assert.equal(await first("a.example"), "https://containers.example/v2 os");
  assert.equal(await first("b.example"), "https://k3s.example/v2 os");
  machine.write("/etc/cos/registries.conf", `[[registry]]\nlocation = "a.example"\n`);
  assert.equal(await first("a.example"), "https://a.example/v2 os");
});

Deno.test("the static file finds mirrors in the machine's own files, in TOML and in YAML", async () => {
  await using machine = await labMachine();
  await using registry = await startRegistry();
  const layout = `${machine.directory}/layout`, { v1, v2 } = writeSmallOs(layout, { v1: {}, v2: {} });
  for (const tag of ["v1", "v2"]) await registry.push(layout, tag, `cache/os:${tag}`);
  // Nobody has this name: what is pulled comes from the mirror.
  const image = "registry.invalid/team/os", program = await staticFile(), conf = `${machine.directory}/r.conf`;
  Deno.writeTextFileSync(
    conf,
    `[[registry]]\nlocation = "registry.invalid/team"\n[[registry.mirror]]\nlocation = "${registry.host}/cache"\n`,
  );
  const toml = await runProgram(
    program,
    ["deploy", `${image}:v1`, "--no-verify", "--state", machine.state],
    { CONTAINERS_REGISTRIES_CONF: conf },
  );
  assert.equal(toml.status, 0, toml.err);

  // In a mount namespace of its own, over the machine's /etc.
  Deno.writeTextFileSync(
    `${machine.directory}/r.yaml`,
    `mirrors:\n  registry.invalid:\n    endpoint: ["http://${registry.host}"]\n    rewrite: { "^team/": "cache/" }\n`,
  );
  const script = `mount -t tmpfs none "$1/over" && mkdir "$1/over/u" "$1/over/w" &&
    mount -t overlay -o "lowerdir=/etc,upperdir=$1/over/u,workdir=$1/over/w" none /etc &&
    mkdir -p /etc/rancher/k3s && cp "$1/r.yaml" /etc/rancher/k3s/registries.yaml && shift && exec "$@"`;
  Deno.mkdirSync(`${machine.directory}/over`);
  const yaml = await runProgram("/usr/bin/unshare", [
    ...["--mount", "--propagation", "private", "sh", "-c", script, "sh", machine.directory],
    ...[program, "upgrade", `${image}:v2`, "--no-verify", "--json", "--state", machine.state],
  ], { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
  assert.equal(yaml.status, 0, yaml.err + yaml.out);
  const { slots } = JSON.parse((await machine.must("status", "--json")).out) as { slots: { digest: string }[] };
  assert.deepEqual(slots.map(({ digest }) => digest), [v2, v1]);
});
