/** Which scope of a policy an image is in, and whether the name that was signed will do. */
import assert from "node:assert/strict";
import { parseReference } from "../../lib/formats/reference.ts";
import { scopesOf } from "../../lib/trust/scope.ts";
import { identityRefusal, type SignedIdentity } from "../../lib/trust/signed-identity.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

Deno.test("scopesOf(): from the most specific on, as containers-policy.json(5) has them", () => {
  const scopes = (image: string) => scopesOf(parseReference(image));
  assert.deepEqual(scopes("registry.example.org:5000/a/b/os:v1"), [
    "registry.example.org:5000/a/b/os:v1",
    "registry.example.org:5000/a/b/os",
    "registry.example.org:5000/a/b",
    "registry.example.org:5000/a",
    "registry.example.org:5000",
    "*.example.org",
    "*.org",
    "",
  ]);
  assert.deepEqual(scopes(`docker://os:v1@${DIGEST}`), [
    `docker.io/library/os@${DIGEST}`,
    "docker.io/library/os",
    "docker.io/library",
    "docker.io",
    "*.io",
    "",
  ]);
  assert.deepEqual(scopes("localhost:5000/os"), [
    "localhost:5000/os:latest",
    "localhost:5000/os",
    "localhost:5000",
    "",
  ]);
  assert.deepEqual(scopes("oci:/media/a/os:v1"), ["/media/a/os:v1", "/media/a/os", "/media/a", "/media", ""]);
  assert.deepEqual(scopes("oci-archive:/m/os.tar:x"), ["/m/os.tar:x", "/m/os.tar", "/m", ""]);
  assert.deepEqual(scopes("docker-archive:/m/os.tar"), [""]);
  assert.deepEqual(scopes("dir:/srv/tree"), ["/srv/tree", "/srv", ""]);
});

const identity = (type: string, more: Record<string, string> = {}) => ({ type, ...more }) as SignedIdentity;

Deno.test("identityRefusal(): each rule, for an image by its tag and by its digest", () => {
  const tagged = "registry.example.org/os:v1", pinned = `registry.example.org/os@${DIGEST}`;
  const cases: [SignedIdentity, image: string, signed: string, accepted: boolean][] = [
    [identity("matchRepoDigestOrExact"), tagged, "registry.example.org/os:v1", true],
    [identity("matchRepoDigestOrExact"), tagged, "registry.example.org/os:v2", false],
    [identity("matchRepoDigestOrExact"), tagged, "registry.example.org/os", false],
    [identity("matchRepoDigestOrExact"), pinned, "registry.example.org/os:v2", true],
    [identity("matchRepoDigestOrExact"), pinned, "registry.example.org/other:v2", false],
    [identity("matchExact"), tagged, "registry.example.org/os:v1", true],
    [identity("matchExact"), pinned, "registry.example.org/os:v1", false],
    [identity("matchRepository"), tagged, "registry.example.org/os", true],
    [identity("matchRepository"), pinned, "registry.example.org/os:v9", true],
    [identity("matchRepository"), tagged, "registry.example.org/os/more", false],
    [identity("matchRepository"), "docker://os:v1", "os", true],
    [identity("matchRepository"), "docker://os:v1", "index.docker.io/library/os:x", true],
    [identity("exactReference", { dockerReference: "upstream.example/os:v1" }), tagged, "upstream.example/os:v1", true],
    [
      identity("exactReference", { dockerReference: "upstream.example/os:v1" }),
      tagged,
      "upstream.example/os:v2",
      false,
    ],
    [
      identity("exactRepository", { dockerRepository: "upstream.example/os" }),
      "oci:/media/os:v1",
      "upstream.example/os:v2",
      true,
    ],
    [
      identity("exactRepository", { dockerRepository: "upstream.example/os" }),
      tagged,
      "registry.example.org/os:v1",
      false,
    ],
    [identity("matchRepository"), "oci:/media/os:v1", "registry.example.org/os:v1", false],
    [
      identity("remapIdentity", { prefix: "registry.example.org", signedPrefix: "upstream.example/a" }),
      tagged,
      "upstream.example/a/os:v1",
      true,
    ],
    [
      identity("remapIdentity", { prefix: "registry.example.org", signedPrefix: "upstream.example/a" }),
      tagged,
      "registry.example.org/os:v1",
      false,
    ],
    [
      identity("remapIdentity", { prefix: "registry.example.org/o", signedPrefix: "x.example/o" }),
      tagged,
      "registry.example.org/os:v1",
      true,
    ],
    [identity("matchRepository"), tagged, "", false],
    [identity("matchRepository"), tagged, "no name at all", false],
  ];
  for (const [rule, image, signed, accepted] of cases) {
    const refusal = identityRefusal(rule, parseReference(image), signed);
    assert.equal(refusal === undefined, accepted, `${JSON.stringify(rule)} ${image} ${signed}: ${refusal?.reason}`);
  }
  assert.equal(
    identityRefusal(identity("matchRepository"), parseReference(tagged), "registry.example.org/other:v1")?.reason,
    "the image was signed under another name: expected registry.example.org/os, found registry.example.org/other:v1",
  );
});
