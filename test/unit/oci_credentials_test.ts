import assert from "node:assert/strict";
import { authFilePaths, credentialLookup, findLogin } from "../../lib/config/credentials.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { rejects } from "../lab/expect.ts";

type Auths = Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;

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
      identitytoken: "t",
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
  ]);
  assert.deepEqual(authFilePaths(() => undefined), ["/etc/cos/auth.json", "/run/containers/0/auth.json"]);
  const home = authFilePaths((name) => name === "HOME" ? "/h" : undefined);
  assert.deepEqual(home.at(-1), "/h/.docker/config.json");
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
