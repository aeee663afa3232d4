import assert from "node:assert/strict";
import { formatReference, type ImageReference, parseReference } from "../../lib/formats/reference.ts";
import { fails } from "../lab/expect.ts";

const SHA256 = `sha256:${"0123456789abcdef".repeat(4)}`;
const SHA512 = `sha512:${"0123456789abcdef".repeat(8)}`;

/** [what is typed, what it means, its full form] */
const GOOD: [string, Record<string, string>, string][] = [
  [
    "registry.example.com/os:v1",
    { host: "registry.example.com", repository: "os", tag: "v1" },
    "registry.example.com/os:v1",
  ],
  [
    "registry.example.com:5000/team/os:v1",
    { host: "registry.example.com:5000", repository: "team/os", tag: "v1" },
    "registry.example.com:5000/team/os:v1",
  ],
  ["registry.example.com/os", { host: "registry.example.com", repository: "os", tag: "latest" }, ""],
  ["registry.example.com:65535/os", { host: "registry.example.com:65535", repository: "os", tag: "latest" }, ""],
  ["localhost/os:v1", { host: "localhost", repository: "os", tag: "v1" }, ""],
  ["localhost:5000/os", { host: "localhost:5000", repository: "os", tag: "latest" }, ""],
  ["Registry/os:v1", { host: "Registry", repository: "os", tag: "v1" }, ""],
  ["127.0.0.1:5000/os:v1", { host: "127.0.0.1:5000", repository: "os", tag: "v1" }, ""],
  ["[::1]:5000/os:v1", { host: "[::1]:5000", repository: "os", tag: "v1" }, ""],
  ["[2001:db8::1]/os", { host: "[2001:db8::1]", repository: "os", tag: "latest" }, ""],
  ["docker.io/os:v1", { host: "docker.io", repository: "library/os", tag: "v1" }, ""],
  ["index.docker.io/os:v1", { host: "docker.io", repository: "library/os", tag: "v1" }, ""],
  ["docker.io/team/os:v1", { host: "docker.io", repository: "team/os", tag: "v1" }, ""],
  ["os:v1", { host: "docker.io", repository: "library/os", tag: "v1" }, ""],
  ["team/os:v1", { host: "docker.io", repository: "team/os", tag: "v1" }, ""],
  ["localhost:5000", { host: "docker.io", repository: "library/localhost", tag: "5000" }, ""],
  [`os@${SHA256}`, { host: "docker.io", repository: "library/os", digest: SHA256 }, ""],
  [`r.example/os@${SHA256}`, { host: "r.example", repository: "os", digest: SHA256 }, `r.example/os@${SHA256}`],
  [`r.example/os@${SHA512}`, { host: "r.example", repository: "os", digest: SHA512 }, `r.example/os@${SHA512}`],
  [
    `r.example:80/os:v1@${SHA256}`,
    { host: "r.example:80", repository: "os", tag: "v1", digest: SHA256 },
    `r.example:80/os:v1@${SHA256}`,
  ],
  ["docker://r.example/os:v1", { host: "r.example", repository: "os", tag: "v1" }, ""],
  [
    "r.example/a/b__c/d-e/f--g.h_i:V.1_2-x",
    { host: "r.example", repository: "a/b__c/d-e/f--g.h_i", tag: "V.1_2-x" },
    "",
  ],
  [`r.example/os:${"t".repeat(128)}`, { host: "r.example", repository: "os", tag: "t".repeat(128) }, ""],
];

Deno.test("parseReference() tells host, port, repository, tag and digest apart as docker does", () => {
  for (const [text, { host, repository, tag, digest }, full] of GOOD) {
    const parsed = parseReference(text);
    assert.deepEqual(parsed, { kind: "registry", host, repository, tag, digest }, text);
    if (full !== "") assert.equal(formatReference(parsed), full);
  }
});

Deno.test("formatReference() gives a form that parseReference() reads as the same", () => {
  const more = ["oci:/a/b", "oci:a:v1", "oci:/srv/a:b/c", "oci:/srv/a:b/c:v1", "dir:/", "dir:a:b"];
  for (const text of [...GOOD.map(([text]) => text), ...more]) {
    const parsed = parseReference(text);
    assert.deepEqual(parseReference(formatReference(parsed)), parsed);
  }
});

Deno.test("parseReference() reads layouts and directories; only a colon behind the last slash begins a tag", () => {
  const cases: [string, ImageReference][] = [
    ["oci:/srv/os", { kind: "layout", path: "/srv/os" }],
    ["oci:/srv/os:v1", { kind: "layout", path: "/srv/os", tag: "v1" }],
    ["oci:/srv/a:b/os", { kind: "layout", path: "/srv/a:b/os" }],
    ["oci:/srv/a:b/os:v1", { kind: "layout", path: "/srv/a:b/os", tag: "v1" }],
    ["oci:os:r.example/os", { kind: "layout", path: "os:r.example/os" }],
    ["dir:/srv/a:b", { kind: "directory", path: "/srv/a:b" }],
    ["dir:.", { kind: "directory", path: "." }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseReference(text), expected);
});

Deno.test("parseReference() reads archives: the path ends at the first colon, names may hold more of them", () => {
  const oci = { kind: "oci-archive", path: "/srv/os.tar" } as const;
  const docker = { ...oci, kind: "docker-archive" } as const;
  const cases: [string, ImageReference][] = [
    ["oci-archive:/srv/os.tar", oci],
    ["oci-archive:/srv/os.tar:v1", { ...oci, name: "v1" }],
    ["oci-archive:/srv/os.tar:r.example:5000/os:v1", { ...oci, name: "r.example:5000/os:v1" }],
    ["oci-archive:/srv/os.tar:@2", { ...oci, index: 2 }],
    ["docker-archive:/srv/os.tar", docker],
    ["docker-archive:/srv/os.tar:os", { ...docker, name: "docker.io/library/os:latest" }],
    ["docker-archive:/srv/os.tar:team/os:v1", { ...docker, name: "docker.io/team/os:v1" }],
    ["docker-archive:/srv/os.tar:r.example:5000/os", { ...docker, name: "r.example:5000/os:latest" }],
    ["docker-archive:/srv/os.tar:@0", { ...docker, index: 0 }],
    ["docker-archive:./-", { kind: "docker-archive", path: "./-" }],
  ];
  for (const [text, expected] of cases) {
    assert.deepEqual(parseReference(text), expected);
    assert.deepEqual(parseReference(formatReference(expected)), expected);
  }
});

const DIGEST = "the digest is not sha256:… or sha512:… with all its hex digits";
const NOTHING = "it names neither a registry nor a tag nor a digest";
const STDIN = "an archive is read more than once, and standard input cannot be: write it to a file";
const BAD: [string, string][] = [
  ["", NOTHING],
  ["os", NOTHING],
  ["system/cos", NOTHING],
  ["oci:", "no path is given"],
  ["oci::v1", "no path is given"],
  ["oci:/srv/os:", "the tag behind the last colon is empty"],
  ["dir:", "no path is given"],
  ["oci-archive:", "no path is given"],
  ["docker-archive::os:v1", "no path is given"],
  ["oci-archive:/srv/os.tar:", "the name behind the path's colon is empty"],
  ["oci-archive:/srv/os.tar:@x", '"@x" is no place in an archive (@0, @1, …)'],
  ["docker-archive:/srv/os.tar:OS:v1", '"OS:v1" is no NAME:TAG'],
  [`docker-archive:/srv/os.tar:os@${SHA256}`, `"os@${SHA256}" is no NAME:TAG`],
  ["docker-archive:-", STDIN],
  ["oci-archive:/dev/stdin:v1", STDIN],
  ["r.example/os@", DIGEST],
  ["r.example/os@sha256:abc", DIGEST],
  [`r.example/os@${SHA256.toUpperCase()}`, DIGEST],
  [`r.example/os@sha256:${"A".repeat(64)}`, DIGEST],
  [`r.example/os@${SHA256}0`, DIGEST],
  [`r.example/os@${SHA256}\n`, DIGEST],
  [`r.example/os@md5:${"0".repeat(32)}`, DIGEST],
  [`r.example/os@sha256:${"../".repeat(21)}a`, DIGEST],
  [`user@r.example/os`, DIGEST],
  ["r.example/os:", 'the tag "" has characters or a length that no tag may have'],
  ["r.example/os:.v1", 'the tag ".v1" has characters or a length that no tag may have'],
  ["r.example/os:v 1", 'the tag "v 1" has characters or a length that no tag may have'],
  [
    `r.example/os:${"t".repeat(129)}`,
    `the tag "${"t".repeat(129)}" has characters or a length that no tag may have`,
  ],
  ["-r.example/os:v1", '"-r.example" is no host name'],
  ["r..example/os:v1", '"r..example" is no host name'],
  ["r_e.example/os:v1", '"r_e.example" is no host name'],
  ["r.example:/os:v1", '"r.example:" is no host name'],
  ["r.example:x/os:v1", '"r.example:x" is no host name'],
  ["r.example:65536/os:v1", '"r.example:65536" is no host name'],
  ["1.2.3.400/os:v1", '"1.2.3.400" is no host name'],
  ["[::1::2]/os:v1", '"[::1::2]" is no host name'],
  ["https://r.example/os:v1", '"https:" is no host name'],
  ["r.example/:v1", '"" is no repository\'s name'],
  ["r.example//os:v1", '"/os" is no repository\'s name'],
  ["r.example/os/:v1", '"os/" is no repository\'s name'],
  ["r.example/OS:v1", '"OS" is no repository\'s name'],
  ["r.example/../os:v1", '"../os" is no repository\'s name'],
  ["r.example/a..b:v1", '"a..b" is no repository\'s name'],
  ["r.example/os?x=:v1", '"os?x=" is no repository\'s name'],
  ["/os:v1", '"/os" is no repository\'s name'],
  [`r.example/${"a".repeat(256)}:v1`, `"${"a".repeat(256)}" is no repository's name`],
];

Deno.test("parseReference() repeats no login that somebody typed", () => {
  for (const [scheme, host] of [["", "r.example"], ["docker://", "r.example:5000"]]) {
    fails(
      () => parseReference(`${scheme}somebody:s3cret@${host}/os:v1`),
      "INVALID_REFERENCE",
      `Cannot read "${scheme}…@${host}/os:v1" as an image: a login stands in it, and logins are kept in files (--auth-file).`,
    );
  }
});

Deno.test("parseReference() refuses what no registry could mean, and says why", () => {
  for (const [text, why] of BAD) {
    fails(() => parseReference(text), "INVALID_REFERENCE", `Cannot read ${JSON.stringify(text)} as an image: ${why}.`);
  }
});
