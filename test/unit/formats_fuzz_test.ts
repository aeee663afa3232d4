/** Damaged inputs by the ten thousand, the same in each run: parsers answer with a result or a `CosError`, soon, and in little memory. */
import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import { CosError } from "../../lib/base/errors.ts";
import { chooseDockerImage, diffIdsOf, parseDockerManifest } from "../../lib/formats/docker-archive.ts";
import { ENV_BLOCK_SIZE, parseEnvBlock, printEnvBlock, updateEnvBlock } from "../../lib/formats/env-block.ts";
import { parseExtSuperblock } from "../../lib/formats/ext-superblock.ts";
import { PROBE_SIZE, probeFilesystem } from "../../lib/formats/filesystem-label.ts";
import { parseHostsToml } from "../../lib/formats/hosts-toml.ts";
import { parseK3sRegistries } from "../../lib/formats/k3s-registries.ts";
import { type Manifest, MEDIA_TYPES, parseConfig, parseManifest } from "../../lib/formats/manifest.ts";
import { parseMountInfo } from "../../lib/formats/mountinfo.ts";
import { emptyRecord, parseRecord, printRecord, withOperation } from "../../lib/formats/record.ts";
import { parseReference } from "../../lib/formats/reference.ts";
import { parseRegistriesConf } from "../../lib/formats/registries-conf.ts";
import { TarReader } from "../../lib/formats/tar.ts";
import { ZstdFrameWalker } from "../../lib/formats/zstd-frames.ts";
import { parseChallenges } from "../../lib/oci/auth.ts";
import { Random } from "../lab/random.ts";
import * as t from "../lab/tar-writer.ts";
import { oldSparse } from "../lab/sparse.ts";

/** One call may take so long, with room for a machine that is busy with others. Milliseconds. */
const LONGEST = 5000;
/** The parsers keep at most some MiB; what the collector has not freed yet comes on top. */
const MOST_MEMORY = 256 * 1024 * 1024;

function fuzz(seeds: readonly Uint8Array[], rounds: number, parse: (bytes: Uint8Array, random: Random) => void): void {
  const random = new Random(20_261_125), outcomes = { accepted: 0, refused: 0 };
  const before = Deno.memoryUsage();
  for (let round = 0; round < rounds; round++) {
    const input = random.mutate(random.pick(seeds)), start = performance.now();
    try {
      parse(input, random);
      outcomes.accepted++;
    } catch (thrown) {
      if (!(thrown instanceof CosError)) {
        throw new Error(`round ${round}: ${input.length} bytes`, { cause: thrown });
      }
      outcomes.refused++;
    }
    const took = performance.now() - start;
    assert.ok(took < LONGEST, `round ${round} took ${took} ms`);
  }
  const after = Deno.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(grown < MOST_MEMORY, `${grown} bytes more are in use`);
  // A fuzzer that only ever sees one outcome tests nothing.
  assert.ok(outcomes.accepted > rounds / 100, `only ${outcomes.accepted} of ${rounds} were accepted`);
}

/** Writes the right sum into each block that looks like a header, so that what lies behind the sum is reached. */
function sealHeaders(archive: Uint8Array): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    if (archive[at + 257] !== 0x75 || archive[at + 258] !== 0x73) continue; // "us" of "ustar"
    archive.fill(0x20, at + 148, at + 156);
    const sum = archive.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    archive.set(t.bytesOf(`${sum.toString(8).padStart(6, "0")}\0 `), at + 148);
  }
}

const TARS = [
  t.tar([
    t.directory("d"),
    t.file("d/f", "content", {
      mtime: "-1.5",
      uid: 3_000_000,
      xattrs: { "user.a": "b", "security.capability": "\x01" },
    }),
    t.hardlink("h", "d/f"),
    t.symlink("s".repeat(120), "target".repeat(40)),
    t.charDevice("c", 1, 3),
  ]),
  t.tar([t.file("n".repeat(300), "x", { format: "gnu", uid: 2 ** 31, base256: ["size"] }), t.fifo("p")]),
  t.tar([
    t.globalHeader([["comment", "c"], ["gid", "7"]]),
    t.file("sparse", "abcde", { pax: [["GNU.sparse.size", "900"], ["GNU.sparse.map", "0,3,800,2"]] }),
    t.file("sparse", `2\n0\n3\n800\n2\n${"\0".repeat(500)}abcde`, {
      pax: [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "900"]],
    }),
  ]),
  t.tar(oldSparse(Array.from({ length: 30 }, (_, i) => [i * 10, 1] as const), 300, "x".repeat(30))),
];

Deno.test("damaged tar archives: what comes out is sound, whatever goes in", () => {
  fuzz(TARS, 6000, (archive, random) => {
    if (random.next(4) > 0) sealHeaders(archive);
    let end = 0, size = 0;
    const reader = new TarReader({
      entry(entry) {
        assert.ok(Number.isSafeInteger(entry.size) && entry.size >= 0);
        assert.ok(entry.mode >= 0 && entry.mode <= 0o7777);
        assert.ok(entry.uid >= 0 && entry.uid < 2 ** 32 - 1 && entry.gid >= 0 && entry.gid < 2 ** 32 - 1);
        assert.ok(entry.mtime.nanoseconds >= 0 && entry.mtime.nanoseconds < 1e9);
        assert.ok(Number.isSafeInteger(entry.mtime.seconds));
        [end, size] = [0, entry.size];
      },
      data(bytes, offset) {
        assert.ok(bytes.length > 0 && offset >= end && offset + bytes.length <= size, "content outside of the file");
        end = offset + bytes.length;
      },
      entryEnd() {},
    });
    const step = random.pick([1, 100, 512, 4096, archive.length + 1]);
    for (let at = 0; at < archive.length; at += step) reader.push(archive.subarray(at, at + step));
    reader.finish();
  });
});

const FRAMES = ["", "a", "hello ".repeat(50), "x".repeat(300_000)].map((text) => zstdCompressSync(t.bytesOf(text)));

Deno.test("damaged zstd frames: the bytes of each frame come between its begin and its end", () => {
  fuzz([t.concat(FRAMES), ...FRAMES], 6000, (data, random) => {
    let open = false, handed = 0;
    const walker = new ZstdFrameWalker({
      frame(size) {
        assert.ok(!open && (size === undefined || size >= 0));
        open = true;
      },
      bytes(bytes) {
        assert.ok(open && bytes.length > 0);
        handed += bytes.length;
      },
      frameEnd() {
        assert.ok(open);
        open = false;
      },
    });
    const step = random.pick([1, 3, 100, data.length + 1]);
    for (let at = 0; at < data.length; at += step) walker.push(data.subarray(at, at + step));
    assert.ok(handed <= data.length);
    walker.finish();
    assert.ok(!open);
  });
});

const DIGEST = `sha256:${"0".repeat(64)}`;
const CONFIG = { mediaType: "application/vnd.oci.image.config.v1+json", digest: DIGEST, size: 2 };
const MANIFEST = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: CONFIG, layers: [CONFIG] };
const INDEX = { schemaVersion: 2, manifests: [{ ...CONFIG, platform: { os: "linux", architecture: "amd64" } }] };

Deno.test("damaged manifests and configurations", () => {
  const config = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [DIGEST] } };
  const seeds = [MANIFEST, INDEX, config].map((value) => t.bytesOf(JSON.stringify(value)));
  fuzz(seeds, 6000, (bytes, random) => {
    if (random.next(2) === 0) parseManifest(bytes, random.pick([undefined, MEDIA_TYPES.ociManifest]), "x");
    else parseConfig(bytes, MANIFEST as unknown as Manifest, "x");
  });
});

Deno.test("a manifest of four million brackets, items or faults is refused in time", () => {
  const hostile = [
    "[".repeat(4 << 20),
    `${'{"a":'.repeat(800_000)}1${"}".repeat(800_000)}`,
    `{"schemaVersion":2,"manifests":[${"{},".repeat(1_300_000)}{}]}`,
    `{"schemaVersion":2,"config":${"[".repeat(1 << 20)}${"]".repeat(1 << 20)},"layers":[]}`,
    `{"schemaVersion":2,"layers":[${"1,".repeat(1_300_000)}1],"config":1}`,
    `{"schemaVersion":2,"manifests":[],"annotations":{${Array.from({ length: 300_000 }, (_, i) => `"a${i}":1`)}}}`,
  ];
  for (const text of hostile) {
    const start = performance.now();
    assert.throws(() => parseManifest(t.bytesOf(text), undefined, "x"), CosError);
    assert.ok(performance.now() - start < 5 * LONGEST);
  }
});

Deno.test("damaged environment blocks, records, superblocks and mountinfo never throw", () => {
  const env = printEnvBlock(new Map([["cos_tries", "3"], ["saved_entry", "a\\b\nc"]])) ?? new Uint8Array(0);
  const record = printRecord(withOperation(emptyRecord(), { kind: "k", at: "now", outcome: "done" }, new Set()));
  const superblock = new Uint8Array(PROBE_SIZE);
  superblock.set([0x53, 0xef], 1024 + 56);
  superblock.set(t.bytesOf("_BHRfS_M"), 65536 + 64);
  const mounts = t.bytesOf("22 27 0:21 / /proc\\040x rw shared:12 - proc proc rw\n".repeat(5));
  const text = new TextDecoder();
  fuzz([env], 3000, (bytes) => {
    const before = parseEnvBlock(bytes), updated = updateEnvBlock(bytes, new Map([["cos_tries", "2"]]));
    if (updated === undefined) return;
    assert.equal(updated.length, ENV_BLOCK_SIZE);
    const after = parseEnvBlock(updated);
    assert.equal(after?.get("cos_tries"), "2");
    for (const [name, value] of before ?? []) {
      if (name !== "cos_tries") assert.equal(after?.get(name) ?? "", value);
    }
  });
  fuzz([record], 2000, (bytes) => void parseRecord(bytes));
  fuzz([superblock], 300, (bytes) => void [probeFilesystem(bytes), parseExtSuperblock(bytes.subarray(1024))]);
  fuzz([mounts], 1000, (bytes) => void parseMountInfo(text.decode(bytes)));
});

Deno.test("damaged references and challenges", () => {
  const references = ["r.example:5000/team/os:v1", `r.example/os@${DIGEST}`, "[::1]:80/a/b", "oci:/a:b"].map(t.bytesOf);
  const text = new TextDecoder("latin1");
  fuzz(references, 4000, (bytes) => void parseReference(text.decode(bytes)));
  const challenges = ['Bearer realm="https://a/b",service="c\\"d",scope=e, Basic realm=x', "Negotiate abc==, Basic"]
    .map(t.bytesOf);
  fuzz(challenges, 4000, (bytes) => void parseChallenges(text.decode(bytes)));
});

Deno.test("damaged manifests and configurations of docker's archives", () => {
  const image = { Config: "c.json", RepoTags: ["os:v1"], Layers: ["1/layer.tar"] };
  const config = { rootfs: { type: "layers", diff_ids: [DIGEST] } };
  fuzz([t.bytesOf(JSON.stringify([image, { ...image, RepoTags: null }]))], 4000, (bytes) => {
    chooseDockerImage(parseDockerManifest(bytes, "x"), { name: "docker.io/library/os:v1" }, "x");
  });
  fuzz([t.bytesOf(JSON.stringify(config))], 4000, (bytes) => void diffIdsOf(bytes, 1, "x"));
});

Deno.test("damaged configurations of mirrors", () => {
  const text = new TextDecoder();
  const conf =
    `[[registry]]\nprefix = "*.a"\nlocation = "b/c"\n[[registry.mirror]]\nlocation = "d"\npull-from-mirror = "all"\n`;
  const hosts = `server = "a"\n[host."https://b/c"]\ncapabilities = ["pull"]\nca = ["d"]\nclient = [["e", "f"]]\n`;
  const yaml =
    `mirrors:\n  "*": &a\n    endpoint: ["b:5"]\n    rewrite: {"^(c+)$": "d$1"}\n  e: *a\nconfigs:\n  f: {tls: {}}\n`;
  fuzz([t.bytesOf(conf)], 3000, (bytes) => void parseRegistriesConf(text.decode(bytes), "x"));
  fuzz([t.bytesOf(hosts)], 3000, (bytes) => void parseHostsToml(text.decode(bytes), "x"));
  fuzz([t.bytesOf(yaml)], 3000, (bytes) => void parseK3sRegistries(text.decode(bytes), "x"));
  for (const open of ["[", "{", "- ", '"a": ']) {
    const deep = open.repeat(100_000), start = performance.now();
    assert.throws(() => parseK3sRegistries(deep, "x"), CosError);
    assert.throws(() => parseRegistriesConf(`a = ${deep}`, "x"), CosError);
    assert.ok(performance.now() - start < 5 * LONGEST);
  }
  const aliases = Array.from({ length: 30 }, (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(i === 0 ? 0 : 9)}]`);
  parseK3sRegistries(`${aliases.join("\n")}\nmirrors: {}\n`, "x");
});
