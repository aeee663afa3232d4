import assert from "node:assert/strict";
import { findLogin, parseAuthFile } from "../../lib/config/auth-file.ts";
import type { HelperAnswer } from "../../lib/system/credential-helper.ts";
import { authFilePaths, credentialLookup } from "../../lib/config/credentials.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { rejects } from "../lab/expect.ts";

type Entry = { auth?: string; username?: string; password?: string; identitytoken?: string; registrytoken?: string };
type Auths = Record<string, Entry>;

const login = (name: string) => ({ auth: btoa(`${name}:secret`) });

function user(auths: Auths, host: string, repository = "team/os"): string | undefined {
  return findLogin({ auths }, host, repository)?.username;
}

Deno.test("the entry of the most specific key decides, whatever its place", () => {
  const auths = {
    "r.example": login("host"),
    "r.example/team/os": login("repository"),
    "r.example/team": login("team"),
    "other.example": login("other"),
  };
  assert.deepEqual(
    ["team/os", "team/other", "team/os/deeper", "os", "teams/os"].map((repository) =>
      user(auths, "r.example", repository)
    ),
    ["repository", "team", "repository", "host", "host"],
  );
  assert.equal(user(auths, "r.example:5000"), undefined);
  assert.equal(user({ "r.example:5000": login("port") }, "r.example:5000"), "port");
  assert.equal(user({}, "r.example"), undefined);
  assert.equal(findLogin({}, "r.example", "os"), undefined);
});

Deno.test("URLs as keys mean their host", () => {
  for (const key of ["https://r.example", "http://r.example/", "https://r.example/v1/", "https://r.example/v2/x"]) {
    assert.equal(user({ [key]: login("url") }, "r.example"), "url", key);
  }
  assert.equal(user({ "https://r.example.evil": login("evil") }, "r.example"), undefined);
});

Deno.test("Docker Hub is found under each of its names, and under no other", () => {
  for (
    const key of [
      "docker.io",
      "index.docker.io",
      "registry-1.docker.io",
      "https://index.docker.io/v1/",
      "https://index.docker.io/v2",
      "https://registry-1.docker.io/v2/",
    ]
  ) assert.equal(user({ [key]: login("hub") }, "docker.io"), "hub", key);
  assert.equal(user({ "https://index.docker.io.evil/v1/": login("evil") }, "docker.io"), undefined);
  assert.equal(user({ "docker.io/team": login("team") }, "docker.io"), "team");
});

Deno.test("a login is user and password, or their base64 with the first colon between", () => {
  assert.deepEqual(findLogin({ auths: { r: { auth: btoa("u:p:q\n") } } }, "r", "os"), {
    username: "u",
    password: "p:q\n",
  });
  assert.deepEqual(findLogin({ auths: { r: { username: "u", password: "" } } }, "r", "os"), {
    username: "u",
    password: "",
  });
  assert.deepEqual(findLogin({ auths: { r: { auth: "w6k6w7w=" } } }, "r", "os"), { username: "é", password: "ü" });
});

Deno.test("an entry that is no login does not hide one that is", () => {
  for (
    const entry of [{}, { auth: "" }, { auth: "?" }, { auth: btoa("no colon") }, { username: "u" }, {
      identitytoken: "",
    }]
  ) {
    assert.equal(user({ "r.example/team": entry, "r.example": login("host") }, "r.example"), "host");
  }
});

Deno.test("files are asked in the order of containers-auth.json(5), Docker's last", () => {
  const all = { REGISTRY_AUTH_FILE: "/a", XDG_RUNTIME_DIR: "/x", HOME: "/h", DOCKER_CONFIG: "/d" };
  assert.deepEqual(authFilePaths((name) => (all as Record<string, string>)[name]), [
    "/a",
    "/etc/cos/auth.json",
    "/x/containers/auth.json",
    "/run/containers/0/auth.json",
    "/h/.config/containers/auth.json",
    "/d/config.json",
    "/h/.dockercfg",
  ]);
  assert.equal(authFilePaths((name) => (all as Record<string, string>)[name], "/flag")[0], "/flag");
  assert.deepEqual(authFilePaths(() => undefined), ["/etc/cos/auth.json", "/run/containers/0/auth.json"]);
  const home = authFilePaths((name) => name === "HOME" ? "/h" : undefined);
  assert.deepEqual(home.slice(-2), ["/h/.docker/config.json", "/h/.dockercfg"]);
});

Deno.test("credentialLookup() reads the first file that knows the host, and says which one it cannot read", async () => {
  await using scratch = scratchDirectory("auth");
  const first = `${scratch.path}/first.json`, docker = `${scratch.path}/config.json`;
  const lookup = credentialLookup((name) =>
    ({ REGISTRY_AUTH_FILE: first, DOCKER_CONFIG: scratch.path } as Record<string, string>)[name]
  );
  assert.equal(await lookup("r.example", "os"), undefined);
  Deno.writeTextFileSync(docker, JSON.stringify({ credsStore: "x", auths: { "r.example": login("docker") } }));
  assert.deepEqual(await lookup("r.example", "os"), { username: "docker", password: "secret" });
  Deno.writeTextFileSync(first, JSON.stringify({ auths: { "r.example": login("first") } }));
  assert.deepEqual(await lookup("r.example", "os"), { username: "first", password: "secret" });
  for (const text of ["", "{", "[]", '{"auths":[]}', '{"auths":{"r":1}}', '{"auths":{"r":{"auth":1}}}']) {
    Deno.writeTextFileSync(first, text);
    await rejects(
      () => lookup("r.example", "os"),
      "UNAUTHORIZED",
      `Cannot read the logins in ${first}: it is no valid JSON of that kind.`,
    );
  }
});

Deno.test("tokens are told from passwords: identitytoken, registrytoken, and the user <token>", () => {
  const found = (entry: Entry) => findLogin({ auths: { "r.example": entry } }, "r.example", "os");
  assert.deepEqual([
    found({ identitytoken: "i" }),
    found({ auth: btoa("u:p"), identitytoken: "i" }),
    found({ auth: btoa("<token>:i") }),
    found({ username: "<token>", password: "i" }),
    found({ registrytoken: "r", identitytoken: "i" }),
  ], [
    { username: "", password: "", identityToken: "i" },
    { username: "u", password: "", identityToken: "i" },
    { username: "", password: "", identityToken: "i" },
    { username: "", password: "", identityToken: "i" },
    { username: "", password: "", registryToken: "r" },
  ]);
});

Deno.test("a pull secret's patterns match part by part, with the same port, and after every plain name", () => {
  const cases: [string, string, string, boolean][] = [
    ["*.example.org", "r.example.org", "os", true],
    ["*.example.org", "example.org", "os", false],
    ["*.example.org", "a.b.example.org", "os", false],
    ["*.*.example.org", "a.b.example.org", "os", true],
    ["*.example.org", "r.example.org.evil", "os", false],
    ["r?.example.org", "r1.example.org", "os", true],
    ["r[0-9].example.org", "r1.example.org", "os", true],
    ["r[0-9].example.org", "rx.example.org", "os", false],
    ["r[^0-9].example.org", "rx.example.org", "os", true],
    ["r[^0-9].example.org", "r1.example.org", "os", false],
    ["r[0-9.example.org", "r1.example.org", "os", false],
    ["*a*b*.example.org", "xaxxbx.example.org", "os", true],
    ["*a*b*.example.org", "xbxxax.example.org", "os", false],
    ["r*.example.org", "registry.example.org", "os", true],
    ["*.example.org:5000", "r.example.org:5000", "os", true],
    ["*.example.org", "r.example.org:5000", "os", false],
    ["*.example.org:5000", "r.example.org", "os", false],
    ["https://*.example.org/v1/", "r.example.org", "os", true],
    ["*.example.org/team", "r.example.org", "team/os", true],
    ["*.example.org/team", "r.example.org", "teams/os", false],
    ["*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", "os", true],
    ["*", "localhost", "os", true],
    ["*", "r.example.org", "os", false],
    ["r(x|y).example.org", "rx.example.org", "os", false],
    ["r.example.org", "rxexample.org", "os", false],
  ];
  for (const [key, host, repository, fits] of cases) {
    assert.equal(user({ [key]: login("glob") }, host, repository), fits ? "glob" : undefined, `${key} and ${host}`);
  }
  const auths = {
    "*.example.org/team/os": login("glob"),
    "*.example.org": login("wide"),
    "r.example.org": login("name"),
  };
  assert.deepEqual(
    ["r.example.org", "s.example.org"].map((host) => user(auths, host, "team/os")),
    ["name", "glob"],
  );
  // Whoever tries all ways to fit these does not come to an end.
  user({ [`${"*a".repeat(50)}.example.org`]: login("slow") }, `${"a".repeat(60)}b.example.org`);
  user({ [`${"*".repeat(5000)}b.example.org`]: login("slow") }, `${"a".repeat(60)}.example.org`);
});

/** A lookup with files in a scratch directory, and a helper of the test's own. */
function lookupIn(
  path: string,
  options: Parameters<typeof credentialLookup>[1] = {},
  more: Record<string, string> = {},
) {
  const env: Record<string, string> = { HOME: path, ...more };
  return credentialLookup((name) => env[name], options);
}

Deno.test("pull secrets are read in both forms, as files and as the directory that they are mounted as", async () => {
  await using scratch = scratchDirectory("auth");
  const { path } = scratch;
  const oldForm = JSON.stringify({
    "https://r.example/v1/": login("old"),
    "*.example.org": { username: "g", password: "p" },
  });
  const newForm = JSON.stringify({ auths: { "r.example": login("new") } });
  const found = async (file: string, host = "r.example") =>
    (await lookupIn(path, {}, { REGISTRY_AUTH_FILE: file })(host, "os"))?.username;
  Deno.writeTextFileSync(`${path}/.dockercfg`, oldForm);
  assert.equal((await lookupIn(path)("r.example", "os"))?.username, "old"); // ~/.dockercfg
  for (
    const [name, text, expected] of [[".dockercfg", oldForm, "old"], [".dockerconfigjson", newForm, "new"]] as const
  ) {
    const directory = `${path}/${name}-secret`;
    // As the kubelet mounts it: a link to a link to the file.
    Deno.mkdirSync(`${directory}/..2026`, { recursive: true });
    Deno.writeTextFileSync(`${directory}/..2026/${name}`, text);
    Deno.symlinkSync("..2026", `${directory}/..data`);
    Deno.symlinkSync(`..data/${name}`, `${directory}/${name}`);
    assert.equal(await found(directory), expected);
    assert.equal(await found(`${directory}/${name}`), expected);
  }
  Deno.writeTextFileSync(`${path}/any-name`, oldForm);
  assert.deepEqual([await found(`${path}/any-name`), await found(`${path}/any-name`, "x.example.org")], ["old", "g"]);
});

Deno.test("--auth-file comes first, and must be there; REGISTRY_AUTH_FILE that is not there is warned of", async () => {
  await using scratch = scratchDirectory("auth");
  const { path } = scratch, warnings: string[] = [], warn = (text: string) => void warnings.push(text);
  const write = (name: string) => {
    Deno.writeTextFileSync(`${path}/${name}`, JSON.stringify({ auths: { "r.example": login(name) } }));
    return `${path}/${name}`;
  };
  const REGISTRY_AUTH_FILE = write("variable");
  assert.equal(
    (await lookupIn(path, { file: write("flag") }, { REGISTRY_AUTH_FILE })("r.example", "os"))?.username,
    "flag",
  );
  await rejects(
    () => lookupIn(path, { file: `${path}/none` })("r.example", "os"),
    "USAGE",
    `Cannot read the file of logins that --auth-file names: ${path}/none.`,
  );
  assert.equal(await lookupIn(path, { warn }, { REGISTRY_AUTH_FILE: `${path}/none` })("r.example", "os"), undefined);
  assert.deepEqual(warnings, [`REGISTRY_AUTH_FILE names ${path}/none, which cannot be read.`]);
});

Deno.test("credHelpers beat credsStore, both beat what is in the file, and one that knows nothing passes on", async () => {
  await using scratch = scratchDirectory("auth");
  const { path } = scratch, asked: string[] = [], warnings: string[] = [];
  Deno.mkdirSync(`${path}/.docker`);
  Deno.writeTextFileSync(
    `${path}/.docker/config.json`,
    JSON.stringify({
      credsStore: "store",
      credHelpers: { "own.example:5000": "own", "index.docker.io": "hub" },
      auths: { "r.example": login("file"), "own.example:5000": {} },
    }),
  );
  const answers: Record<string, HelperAnswer> = {
    "docker-credential-store": {
      outcome: "ended",
      status: 1,
      out: "credentials not found in native keychain\n",
      err: "",
    },
    "docker-credential-own": {
      outcome: "ended",
      status: 0,
      out: '{"ServerURL":"x","Username":"own","Secret":"s:1"}',
      err: "",
    },
    "docker-credential-hub": { outcome: "ended", status: 0, out: '{"Username":"<token>","Secret":"t"}', err: "" },
  };
  const runHelper = (program: string, args: readonly string[], input: string) => {
    asked.push(`${program} ${args} ${input}`);
    return Promise.resolve(answers[program] ?? { outcome: "missing" as const });
  };
  const lookup = lookupIn(path, { runHelper, warn: (text) => void warnings.push(text) });
  assert.deepEqual([
    await lookup("own.example:5000", "os"),
    await lookup("docker.io", "library/os"),
    await lookup("r.example", "os"),
    await lookup("nobody.example", "os"),
  ], [
    { username: "own", password: "s:1" },
    { username: "", password: "", identityToken: "t" },
    { username: "file", password: "secret" },
    undefined,
  ]);
  assert.deepEqual(asked, [
    "docker-credential-own get own.example:5000",
    "docker-credential-hub get https://index.docker.io/v1/",
    "docker-credential-store get r.example",
    "docker-credential-store get nobody.example",
  ]);
  assert.deepEqual(warnings, []);
});

Deno.test("whatever goes wrong with a helper is a warning, and the search goes on", async () => {
  await using scratch = scratchDirectory("auth");
  const { path } = scratch, warnings: string[] = [];
  let answer: HelperAnswer = { outcome: "missing" };
  Deno.mkdirSync(`${path}/.docker`);
  const lookup = lookupIn(path, {
    runHelper: () => Promise.resolve(answer),
    warn: (text) => void warnings.push(text),
  });
  const told = async (given: HelperAnswer, credsStore = "x") => {
    Deno.writeTextFileSync(
      `${path}/.docker/config.json`,
      JSON.stringify({ credsStore, auths: { "r.example": login("file") } }),
    );
    answer = given;
    assert.equal((await lookup("r.example", "os"))?.username, "file");
    return warnings.splice(0).join();
  };
  const ended = (status: number, out: string, err = ""): HelperAnswer => ({ outcome: "ended", status, out, err });
  const why = "The login for r.example is left out: docker-credential-x ";
  assert.deepEqual([
    await told({ outcome: "missing" }),
    await told({ outcome: "timeout", seconds: 30 }),
    await told({ outcome: "too-long" }),
    await told(ended(2, "", "no\x1b network\n")),
    await told(ended(0, "{")),
    await told(ended(0, '{"Username":"u"}')),
    await told(ended(0, "[]")),
    await told({ outcome: "missing" }, "../../tmp/evil"),
    await told({ outcome: "missing" }, "a b"),
    await told({ outcome: "missing" }, "-x"),
  ], [
    `${why}is not installed.`,
    `${why}did not answer within 30 seconds.`,
    `${why}printed far too much.`,
    `${why}ended with status 2: no\\u001b network.`,
    `${why}answered with something else than a login.`,
    `${why}answered with something else than a login.`,
    `${why}answered with something else than a login.`,
    'The login for r.example is left out: "../../tmp/evil" cannot be a credential helper\'s name.',
    'The login for r.example is left out: "a b" cannot be a credential helper\'s name.',
    'The login for r.example is left out: "-x" cannot be a credential helper\'s name.',
  ]);
});

Deno.test("an IPv6 address in brackets is no pattern, and the case of a host's letters does not matter", () => {
  const auths = {
    "[fd00::1]:5000": login("six"),
    "Registry.Example/Team": login("team"),
    "registry.example": login("all"),
  };
  assert.equal(findLogin({ auths }, "f:5000", "os"), undefined);
  assert.equal(findLogin({ auths }, "1:5000", "os"), undefined);
  assert.equal(findLogin({ auths }, "[fd00::1]:5000", "os")?.username, "six");
  assert.equal(findLogin({ auths }, "REGISTRY.example", "os")?.username, "all");
  assert.equal(findLogin({ auths }, "registry.example", "Team/os")?.username, "team");
  assert.equal(findLogin({ auths }, "registry.example", "team/os")?.username, "all");
});

Deno.test("no host gets another's login, however alike the names look", () => {
  const auths = {
    "example.com": login("plain"),
    "https://url.example/v1/": login("url"),
    "path.example/team": login("path"),
    "*.glob.example": login("glob"),
    "port.example:5000": login("port"),
  };
  for (
    const [host, repository] of [
      ["evil-example.com", "os"],
      ["example.com.evil", "os"],
      ["sub.example.com", "os"],
      ["example.com:5000", "os"],
      ["url.example.evil", "os"],
      ["url.example:8443", "os"],
      ["path.example", "teams/os"],
      ["path.example", "tea"],
      ["path.example.evil", "team/os"],
      ["glob.example", "os"],
      ["a.b.glob.example", "os"],
      ["evilglob.example", "os"],
      ["x.glob.example:5000", "os"],
      ["port.example", "os"],
      ["port.example:50000", "os"],
    ] as const
  ) assert.equal(findLogin({ auths }, host, repository), undefined, `${host}/${repository}`);
});

Deno.test("what a broken file of logins, or a helper that fails, holds of passwords is not repeated", async () => {
  const { stack, cause } = errorOf(() => parseAuthFile('{"auths":{"h":{"password":5ecret}}}', "/f"));
  assert.doesNotMatch(`${stack}${cause}`, /5ecret|cret/);
  await using scratch = scratchDirectory("auth");
  const { path } = scratch, warnings: string[] = [];
  Deno.mkdirSync(`${path}/.docker`);
  Deno.writeTextFileSync(`${path}/.docker/config.json`, JSON.stringify({ credsStore: "x" }));
  const out = '{"Username":"u","Secret":"5ecret"}';
  const runHelper = () => Promise.resolve<HelperAnswer>({ outcome: "ended", status: 1, out, err: "" });
  await lookupIn(path, { runHelper, warn: (text) => void warnings.push(text) })("r.example", "os");
  assert.deepEqual(warnings, ["The login for r.example is left out: docker-credential-x ended with status 1."]);
});

Deno.test("a helper that several files name, and that hangs, hangs once", async () => {
  await using scratch = scratchDirectory("auth");
  const { path } = scratch, warnings: string[] = [], signals: unknown[] = [];
  const file = JSON.stringify({ credsStore: "x" });
  Deno.mkdirSync(`${path}/.docker`);
  Deno.mkdirSync(`${path}/.config/containers`, { recursive: true });
  for (const name of [".docker/config.json", ".config/containers/auth.json"]) {
    Deno.writeTextFileSync(`${path}/${name}`, file);
  }
  const runHelper = (_program: string, _args: readonly string[], _input: string, signal?: AbortSignal) => {
    signals.push(signal);
    return Promise.resolve<HelperAnswer>({ outcome: "timeout", seconds: 30 });
  };
  const { signal } = new AbortController();
  await lookupIn(path, { runHelper, warn: (text) => void warnings.push(text) })("r.example", "os", signal);
  assert.deepEqual(signals, [signal]);
  assert.equal(warnings.length, 1);
});

function errorOf(action: () => unknown): Error {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof Error) return thrown;
  }
  assert.fail("nothing was thrown");
}
