/** Archives that are none, that are damaged, cut off or lie: each is told by name. */
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { CosError } from "../../lib/base/errors.ts";
import { compressed, cutArchive, dockerParts, held, layerOf, writeArchive } from "../lab/archives.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { openDescriptors, rejectionOf, rejects } from "../lab/expect.ts";
import { sha256 } from "../lab/oci-layout.ts";
import { Random } from "../lab/random.ts";
import { run } from "../lab/run.ts";
import * as t from "../lab/tar-writer.ts";

Deno.test("archives that are none, are damaged or cut, or lie", async () => {
  await using scratch = scratchDirectory("archives");
  const at = (name: string) => `${scratch.path}/${name}`;
  const one = layerOf("a", "one"), parts = dockerParts([{ ...one, name: "1.tar" }]);
  const manifest = t.file("manifest.json", JSON.stringify([parts.manifest]));
  const good = writeArchive(scratch.path, "good.tar", [t.file("1.tar", one.tar), parts.config, manifest]);
  const before = openDescriptors();
  const refused = async (
    reference: string,
    why: string,
    code: "BROKEN_ARCHIVE" | "UNSUPPORTED_IMAGE" = "BROKEN_ARCHIVE",
  ) => {
    const verb = code === "BROKEN_ARCHIVE" ? "read" : "use";
    await rejects(() => held(reference), code, `Cannot ${verb} ${reference}: ${why}.`);
  };
  const docker = (name: string, items: t.TarItem[]) => `docker-archive:${writeArchive(scratch.path, name, items)}`;

  await rejects(
    () => held(`docker-archive:${at("none")}`),
    "IMAGE_NOT_FOUND",
    `Cannot read docker-archive:${at("none")}: ${at("none")} does not exist.`,
  );
  await refused(`docker-archive:${scratch.path}`, `${scratch.path} is a directory`);
  await run("mkfifo", [at("pipe")]);
  await refused(`oci-archive:${at("pipe")}`, `${at("pipe")} is no file that can be read more than once`);
  writeFileSync(at("empty"), "");
  await refused(`oci-archive:${at("empty")}`, "it is empty");
  writeFileSync(at("text"), "text ".repeat(500));
  await refused(`oci-archive:${at("text")}`, "it is no tar archive: a header's checksum is no octal number");
  await refused(`docker-archive:${await compressed(good, "xz")}`, "it is compressed with xz, which is not read here");
  await refused(docker("nothing.tar", []), "it is an empty archive");
  await refused(`oci-archive:${good}`, "it has no index.json, so it is no OCI layout");
  await refused(
    docker("old.tar", [t.file("repositories", "{}")]),
    "it is older than docker 1.10, so it is no archive of docker's",
  );
  await refused(
    docker("other.tar", [t.file("index.json", "{}")]),
    "it has no manifest.json, so it is no archive of docker's",
  );

  // Cut at each header and in each member.
  const { size } = statSync(good), gzip = await compressed(good, "gzip");
  for (const bytes of [100, 600, 1000, 2600, 3072]) {
    const { code, message } = await rejectionOf(() => held(`docker-archive:${cutArchive(good, bytes)}`));
    assert.equal(code, "BROKEN_ARCHIVE", message);
    assert.ok(bytes < size);
  }
  await refused(`docker-archive:${cutArchive(good, 1000)}`, "it ends in the middle of 1.tar");
  await refused(
    `docker-archive:${cutArchive(good, 100)}`,
    "it is no tar archive: the archive ends in the middle of a header",
  );
  await refused(`docker-archive:${cutArchive(gzip, statSync(gzip).size >> 1)}`, "its gzip data is damaged");

  await refused(docker("lost.tar", [parts.config, manifest]), "1.tar is not in it");
  await refused(docker("config.tar", [t.file("1.tar", one.tar), manifest]), `${parts.manifest.Config} is not in it`);
  await refused(
    docker("loop.tar", [t.symlink("1.tar", "2.tar"), t.symlink("2.tar", "1.tar"), parts.config, manifest]),
    "1.tar is not in it",
  );
  await refused(
    docker("out.tar", [t.symlink("1.tar", "../../etc/passwd"), parts.config, manifest]),
    "1.tar is not in it",
  );
  await refused(docker("dir.tar", [t.directory("1.tar"), parts.config, manifest]), "1.tar is not in it");
  await refused(
    docker("zeros.tar", [parts.config, new Uint8Array(512), manifest]),
    "an entry follows after a block of zeros, where it should end",
  );
  const xz = readFileSync(`${good}.xz`);
  await refused(
    docker("xz.tar", [t.file("1.tar", xz), parts.config, manifest]),
    "1.tar in it is compressed with xz, which is not read here",
  );

  // A header that says another size than the member has.
  const lies = (claimedSize: number) =>
    docker("lies.tar", [parts.config, manifest, { ...t.file("1.tar", one.tar), claimedSize }]);
  const { code } = await rejectionOf(() => held(lies(one.tar.length - 512)));
  assert.ok(["DIGEST_MISMATCH", "BROKEN_ARCHIVE"].includes(code), code);
  await refused(lies(one.tar.length * 2 ** 20), "it ends in the middle of 1.tar");
  // Other bytes than the digest names.
  const other = docker("changed.tar", [t.file("1.tar", layerOf("a", "two").tar), parts.config, manifest]);
  assert.equal((await rejectionOf(() => held(other))).code, "DIGEST_MISMATCH");
  const changed = docker("changed.tar", [t.file("1.tar", one.tar), { ...parts.config, content: "{}" }, manifest]);
  assert.deepEqual(await rejectionOf(() => held(changed)), {
    code: "DIGEST_MISMATCH",
    message: `Refused the configuration of ${changed}: expected ${parts.digest}, got ${sha256(t.bytesOf("{}"))}.`,
  });

  const json = (text: string) => docker("json.tar", [t.file("manifest.json", text)]);
  await refused(json("["), "its manifest.json is no JSON", "UNSUPPORTED_IMAGE");
  await refused(json("{}"), "its manifest.json is malformed", "UNSUPPORTED_IMAGE");
  await refused(
    json('[{"Config":"a","Layers":[1]}]'),
    "its manifest.json is malformed at 0.Layers.0",
    "UNSUPPORTED_IMAGE",
  );
  const few = dockerParts([{ ...one, name: "1.tar" }], { diffIds: [one.diffId, one.diffId] });
  await refused(
    docker("few.tar", [t.file("1.tar", one.tar), few.config, t.file("manifest.json", JSON.stringify([few.manifest]))]),
    "its manifest.json names 1 layers and its configuration 2",
    "UNSUPPORTED_IMAGE",
  );
  await refused(
    docker("large.tar", [t.file("manifest.json", `[]${" ".repeat(4 << 20)}`)]),
    `manifest.json is longer than ${4 << 20} bytes`,
  );
  assert.deepEqual(openDescriptors(), before);
});

Deno.test("a sparse member is passed over where nobody needs it, and refused where somebody does", async () => {
  await using scratch = scratchDirectory("archives");
  const one = layerOf("a", "one"), parts = dockerParts([{ ...one, name: "1.tar" }]);
  writeFileSync(`${scratch.path}/manifest.json`, JSON.stringify([parts.manifest]));
  writeFileSync(`${scratch.path}/${parts.manifest.Config}`, parts.config.content as string);
  writeFileSync(`${scratch.path}/1.tar`, one.tar);
  await run("truncate", ["--size=3M", `${scratch.path}/hole`]);
  const make = async (...names: string[]) => {
    const to = `${scratch.path}/s.tar`;
    await run("tar", ["-C", scratch.path, "--sparse", "--hole-detection=raw", "-cf", to, ...names]);
    return `docker-archive:${to}`;
  };
  const found = await held(await make("hole", "1.tar", "manifest.json", parts.manifest.Config as string));
  assert.deepEqual(found.diffIds, [one.diffId]);
  await run("truncate", ["--size=3M", `${scratch.path}/1.tar`]);
  const reference = await make("manifest.json", "1.tar", parts.manifest.Config as string);
  await rejects(() => held(reference), "BROKEN_ARCHIVE", `Cannot read ${reference}: 1.tar is stored with holes.`);
});

Deno.test("archives that are damaged anywhere are read as they were, or refused by name", async () => {
  await using scratch = scratchDirectory("archives");
  const one = layerOf("a", "one"), two = layerOf("b", "two"), random = new Random(30);
  const parts = dockerParts([{ ...one, name: "x/1.tar" }, { ...two, name: "2.tar" }]);
  const path = writeArchive(scratch.path, "good.tar", [
    t.symlink("x/1.tar", "../1.tar"),
    t.file("1.tar", one.tar),
    t.file("n".repeat(150), two.tar),
    t.hardlink("2.tar", "n".repeat(150)),
    parts.config,
    t.file("manifest.json", JSON.stringify([parts.manifest])),
  ]);
  const expected = await held(`docker-archive:${path}`), before = openDescriptors();
  const good = new Uint8Array(readFileSync(path)), outcomes = { same: 0, refused: 0 };
  for (let round = 0; round < 400; round++) {
    const bytes = round % 2 === 0 ? random.mutate(good) : good.slice(), name = `${scratch.path}/m.tar`;
    if (round % 2 === 1) bytes[random.next(bytes.length)] = random.next(256);
    writeFileSync(name, round % 3 === 0 ? gzipSync(bytes) : bytes);
    try {
      const found = await held(`docker-archive:${name}`);
      assert.deepEqual(found.layers, expected.layers);
      outcomes.same++;
    } catch (thrown) {
      if (!(thrown instanceof CosError)) throw new Error(`round ${round}`, { cause: thrown });
      assert.ok(thrown.code !== "INTERNAL", thrown.message);
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.same > 10 && outcomes.refused > 100, JSON.stringify(outcomes));
  assert.deepEqual(openDescriptors(), before);
});
