/** The files in which other tools are told of mirrors: what is read of them, and what is refused by name. */
import assert from "node:assert/strict";
import { parseHostsToml } from "../../lib/formats/hosts-toml.ts";
import { findRule, mergeRules, parseRegistriesConf, relocate } from "../../lib/formats/registries-conf.ts";
import { fails } from "../lab/expect.ts";
import { referenceOf } from "../lab/pulling.ts";

function rulesOf(...texts: string[]) {
  return mergeRules(texts.map((text, i) => parseRegistriesConf(text, `/${i}.conf`)));
}

/** Where the image lies by its rule's mirrors and location. */
function places(name: string, ...texts: string[]): string[] | undefined {
  const reference = referenceOf(name), rule = findRule(rulesOf(...texts), reference);
  return rule && [...rule.mirrors, rule].map((place) => Object.values(relocate(rule, place, reference)).join("/"));
}

Deno.test("registries.conf: the example of its manual page", () => {
  const text = `
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
pull-from-mirror = "tag-only"
`;
  assert.deepEqual(places("example.com/foo/image:latest", text), [
    "example-mirror-0.local/mirror-for-foo/image",
    "example-mirror-1.local/mirrors/foo/image",
    "internal-registry-for-example.com/bar/image",
  ]);
  assert.deepEqual(places("registry.com/image:latest", text), ["mirror.registry.com/image", "registry.com/image"]);
  assert.equal(places("example.com/foobar:latest", text), undefined);
  const [first, second] = parseRegistriesConf(text, "/x");
  assert.deepEqual(first?.mirrors.map(({ insecure, use }) => [insecure, use]), [[false, "all"], [true, "all"]]);
  assert.deepEqual(second, {
    prefix: "registry.com",
    location: "registry.com",
    insecure: false,
    blocked: false,
    mirrors: [{ location: "mirror.registry.com", insecure: false, use: "tag-only" }],
    path: "/x",
  });
});

Deno.test("registries.conf: the longest prefix counts, and only whole parts of a name", () => {
  const of = (prefix: string) => `[[registry]]\nprefix = "${prefix}"\nlocation = "to.example/${prefix.length}"\n`;
  const text = ["a.example", "a.example/team", "a.example/team/os", "*.b.example", "x.b.example", "c.example:5000"]
    .map(of).join("");
  const found = (name: string) => places(name, text)?.at(-1);
  assert.equal(found("a.example/x:v1"), "to.example/9/x");
  assert.equal(found("a.example/team/x:v1"), "to.example/14/x");
  assert.equal(found("a.example/teams/x:v1"), "to.example/9/teams/x");
  assert.equal(found("a.example/team/os/base:v1"), "to.example/17/base");
  assert.equal(found("c.example:5000/x:v1"), "to.example/14/x");
  assert.equal(found("c.example/x:v1"), undefined);
  assert.equal(found("y.b.example/x:v1"), "to.example/11/x");
  assert.equal(found("y.z.b.example/x:v1"), "to.example/11/x");
  assert.equal(found("x.b.example/x:v1"), "to.example/11/x");
  assert.equal(found("b.example/x:v1"), undefined);
});

Deno.test("registries.conf: a host's name stands for all its ports, as containers' tools have it", () => {
  const of = (location: string) => `[[registry]]\nprefix = "a.example"\nlocation = "${location}"\n`;
  assert.deepEqual(places("a.example:5000/x:v1", of("b.example")), ["b.example:5000/x"]);
  fails(
    () => places("a.example:5000/x:v1", of("b.example/c")),
    "CONFIGURATION",
    'Cannot use /0.conf: with the location "b.example/c", "a.example:5000/x" becomes no repository\'s name.',
  );
});

Deno.test("registries.conf: a star prefix without a location leaves the name as it is", () => {
  const text = `[[registry]]\nprefix = "*.example"\n[[registry.mirror]]\nlocation = "m.local:5000"\n`;
  assert.deepEqual(places("a.example/team/os:v1", text), ["m.local:5000/team/os", "a.example/team/os"]);
});

Deno.test("registries.conf: a prefix may be one tag or digest", () => {
  const blocked = `[[registry]]\nprefix = "a.example/os:v1"\nlocation = "a.example/os:v1"\nblocked = true\n`;
  assert.equal(findRule(rulesOf(blocked), referenceOf("a.example/os:v1"))?.blocked, true);
  assert.equal(findRule(rulesOf(blocked), referenceOf("a.example/os:v10")), undefined);
  const moved = `[[registry]]\nprefix = "a.example/os:v1"\nlocation = "b.example/base:v1"\n`;
  assert.deepEqual(places("a.example/os:v1", moved), ["b.example/base"]);
  fails(
    () => places("a.example/os:v1", moved.replace("base:v1", "base:v2")),
    "CONFIGURATION",
    'Cannot use /0.conf: the prefix "a.example/os:v1" is of one tag or digest, and its location not of the same one.',
  );
});

Deno.test("registries.conf: Docker Hub is called docker.io, its own images lie in library/", () => {
  const text = `[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "m.local/hub"\n`;
  assert.deepEqual(places("busybox:1", text), ["m.local/hub/library/busybox", "docker.io/library/busybox"]);
  assert.deepEqual(places("docker.io/team/os:1", text), ["m.local/hub/team/os", "docker.io/team/os"]);
  const back = `[[registry]]\nprefix = "m.local"\nlocation = "docker.io"\n`;
  assert.deepEqual(places("m.local/busybox:1", back), ["docker.io/library/busybox"]);
});

Deno.test("registries.conf: later files replace earlier ones by prefix", () => {
  const first = `[[registry]]\nlocation = "a.example"\nblocked = true\n[[registry]]\nlocation = "b.example"\n`;
  const second = `[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "m.local"\n`;
  assert.deepEqual(places("a.example/os:1", first, second), ["m.local/os", "a.example/os"]);
  assert.equal(findRule(rulesOf(first, second), referenceOf("a.example/os:1"))?.blocked, false);
  assert.deepEqual(places("b.example/os:1", first, second), ["b.example/os"]);
});

Deno.test("registries.conf, version 1", () => {
  const rules = rulesOf(
    `[registries.search]\nregistries = ["s.example"]\n[registries.insecure]\nregistries = ["i.example"]\n` +
      `[registries.block]\nregistries = ["b.example/team"]\n`,
  );
  assert.deepEqual(rules.map(({ prefix, insecure, blocked }) => [prefix, insecure, blocked]), [
    ["i.example", true, false],
    ["b.example/team", false, true],
  ]);
});

Deno.test("registries.conf: what is wrong with it, by line or by place", () => {
  const refused = (text: string, why: string) =>
    fails(() => parseRegistriesConf(text, "/r.conf"), "CONFIGURATION", `Cannot use /r.conf${why}.`);
  refused(`[[registry]]\nlocation = "a"\nblocked = yes\n`, ", line 3: invalid value");
  refused(`[[registry]]\nblocked = true\n`, ": a [[registry]] has neither a prefix nor a location");
  refused(`[[registry]]\nlocation = 7\n`, ': "registry.0.location" must be a text');
  refused(`[[registry]]\nlocation = "a"\nblocked = "yes"\n`, ': "registry.0.blocked" must be true or false');
  refused(`[registry]\nlocation = "a"\n`, ': "registry" must be a list');
  refused(
    `[[registry]]\nlocation = "https://a.example"\n`,
    ': "https://a.example" is a URL; here stands a registry\'s name, without http://',
  );
  refused(
    `[[registry]]\nprefix = "a.example"\n`,
    ': the registry "a.example" has no location, which only a prefix like "*.example.org" may lack',
  );
  refused(
    `[[registry]]\nprefix = "a.*.example"\nlocation = "b.example"\n`,
    ': the prefix "a.*.example" has a star in another place than "*.example.org"',
  );
  refused(`[[registry]]\nlocation = "a"\n[[registry.mirror]]\ninsecure = true\n`, ': a mirror of "a" has no location');
  refused(
    `[[registry]]\nlocation = "a"\npull-from-mirror = "all"\n`,
    ': pull-from-mirror stands at the registry "a"; it is for its mirrors',
  );
  refused(
    `[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "tags"\n`,
    ': pull-from-mirror is "tags" at a mirror of "a", not all, digest-only or tag-only',
  );
  refused(
    `[[registry]]\nlocation = "a"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "all"\n`,
    ': "a" has mirror-by-digest-only, and a mirror of it pull-from-mirror',
  );
  refused(
    `[registries.block]\nregistries = []\n[[registry]]\nlocation = "a"\n`,
    ": it mixes the versions 1 ([registries.…]) and 2 ([[registry]]) of its format",
  );
  fails(
    () => places("a.example/os:v1", `[[registry]]\nprefix = "a.example"\nlocation = "mirror"\n`),
    "CONFIGURATION",
    'Cannot use /0.conf: the location "mirror" names no registry\'s host.',
  );
  fails(
    () => places("a.example/os:v1", `[[registry]]\nprefix = "a.example/os"\nlocation = "b.example"\n`),
    "CONFIGURATION",
    'Cannot use /0.conf: with the location "b.example", "a.example/os" becomes no repository\'s name.',
  );
});

Deno.test("hosts.toml: hosts in the file's order, the server last", () => {
  const hosts = parseHostsToml(
    `
server = "https://registry-1.docker.io"

[host."https://mirror.example:5000"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/certs/ca.crt"
  client = [["client.cert", "client.key"], ["both.pem", ""]]
  dial_timeout = "2s"

[host."http://second.example/prefix/"]
  capabilities = ["Pull"]
  client = "both.pem"
  [host."http://second.example/prefix/".header]
    x-one = "1"
    x-two = ["a", "b"]

[host."third.example/v2/proxy"]
  capabilities = ["push"]
  ca = ["a.pem", "b.pem"]
  client = ["one.pem"]
  skip_verify = true
  override_path = true
`,
    "/hosts.toml",
  );
  const none = { skipVerify: false, ca: [], client: [], headers: {} };
  assert.deepEqual(hosts, [
    {
      ...none,
      origin: "https://mirror.example:5000",
      apiPath: "/v2",
      pull: true,
      resolve: true,
      ca: ["/etc/certs/ca.crt"],
      client: [{ cert: "client.cert", key: "client.key" }, { cert: "both.pem" }],
    },
    {
      ...none,
      origin: "http://second.example",
      apiPath: "/prefix/v2",
      pull: true,
      resolve: false,
      client: [{ cert: "both.pem" }],
      headers: { "x-one": "1", "x-two": "a, b" },
    },
    {
      origin: "https://third.example",
      apiPath: "/v2/proxy",
      pull: false,
      resolve: false,
      skipVerify: true,
      ca: ["a.pem", "b.pem"],
      client: [{ cert: "one.pem" }],
      headers: {},
    },
    { ...none, origin: "https://registry-1.docker.io", apiPath: "/v2", pull: true, resolve: true },
  ]);
});

Deno.test("hosts.toml: without a server the registry itself is asked last, and has all capabilities", () => {
  const [own, ...more] = parseHostsToml(`capabilities = ["push"]\nca = "x.crt"\n`, "/hosts.toml");
  assert.deepEqual(more, []);
  assert.deepEqual(own, {
    apiPath: "/v2",
    pull: true,
    resolve: true,
    skipVerify: false,
    ca: ["x.crt"],
    client: [],
    headers: {},
  });
  const [root] = parseHostsToml(`server = "https://a.example/"\noverride_path = true\n`, "/hosts.toml");
  assert.equal(root?.apiPath, "");
});

Deno.test("hosts.toml: what is wrong with it", () => {
  const refused = (text: string, why: string) =>
    fails(() => parseHostsToml(text, "/h/hosts.toml"), "CONFIGURATION", `Cannot use /h/hosts.toml${why}.`);
  refused(`server = "https://a`, ", line 1: unfinished string");
  refused(`[host."https://a"]\ncapabilities = ["read"]\n`, ': "read" is no capability (pull, resolve, push)');
  refused(`[host."ftp://a"]\n`, ': "ftp://a" is no URL of a host');
  refused(`server = "httpx://a"\n`, ': "httpx://a" is no URL of a host');
  refused(`client = [["a"]]\n`, ': a pair under "client" has 1 names of files, not two');
  refused(`skip_verify = "no"\n`, ': "skip_verify" must be true or false');
  refused(`[header]\n"a b" = "c"\n`, ': the header "a b" has a name or a value that no header may have');
  refused(`[header]\na = "b\\r\\nc: d"\n`, ': the header "a" has a name or a value that no header may have');
});
