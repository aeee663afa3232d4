import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Compression, exportSkopeoDirectory, packLayer, writeLayout } from "../lab/oci-layout.ts";
import * as t from "../lab/tar-writer.ts";

function withScratch(body: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "cos-lab-"));
  try {
    body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const LONG = `usr/share/${"long-directory-name/".repeat(14)}file`;

Deno.test("tar() writes what GNU tar reads back: names, owners, times, links, devices", () => {
  withScratch((directory) => {
    const archive = t.tar([
      t.directory("etc", { mode: 0o1777, mtime: 1_700_000_000 }),
      t.file("etc/a", "hello", { mode: 0o4755, uid: 12, gid: 3_000_000, mtime: "1700000000.123456789" }),
      t.file(new Uint8Array([0x62, 0xff, 0xfe]), "raw name", { mtime: "-1.5" }),
      t.hardlink("etc/b", "etc/a"),
      t.symlink("etc/l", "a"),
      t.charDevice("null", 1, 3, { mode: 0o666 }),
      t.file(LONG, "pax"),
      t.file(`${LONG}-gnu`, "gnu", { format: "gnu", uid: 2 ** 31, base256: ["size", "mtime"], mtime: -3 }),
    ]);
    writeFileSync(join(directory, "a.tar"), archive);
    execFileSync("tar", ["-C", directory, "--numeric-owner", "-xpf", join(directory, "a.tar")], { stdio: "ignore" });
    const a = lstatSync(join(directory, "etc/a"), { bigint: true });
    assert.equal(a.mode & 0o7777n, 0o4755n);
    assert.deepEqual([a.uid, a.gid, a.nlink], [12n, 3_000_000n, 2n]);
    // By find(1): the runtime's own stat drops what is below a millisecond.
    const found = (name: string) =>
      execFileSync("find", [".", "-name", name, "-printf", "%T@ %p"], { cwd: directory, env: { LC_ALL: "C" } })
        .toString("latin1");
    assert.equal(found("a"), "1700000000.1234567890 ./etc/a");
    assert.equal(lstatSync(join(directory, "etc")).mode & 0o7777, 0o1777);
    assert.equal(readFileSync(join(directory, LONG), "utf8"), "pax");
    assert.equal(readFileSync(join(directory, `${LONG}-gnu`), "utf8"), "gnu");
    assert.deepEqual(
      [lstatSync(join(directory, `${LONG}-gnu`)).uid, lstatSync(join(directory, `${LONG}-gnu`)).mtimeMs],
      [2 ** 31, -3000],
    );
    assert.equal(lstatSync(join(directory, "null")).rdev, 0x103);
    // find prints seconds and fraction apart: -1.5 s is second -2 and half a second.
    assert.equal(found("b?*"), "-2.5000000000 ./b\xff\xfe");
  });
});

Deno.test("tar() writes a wrong checksum, a lying size and a missing end when it is told to", () => {
  const honest = t.tar([t.file("a", "x")]);
  assert.equal(honest.length, 512 * 4);
  assert.equal(t.tar([t.file("a", "x")], { endBlocks: 0, trailing: "junk" }).length, 512 * 2 + 4);
  const wrong = t.tar([t.file("a", "x", { raw: { checksum: "000000\0 " } })]);
  assert.notDeepEqual(wrong, honest);
  assert.deepEqual(wrong.subarray(156), honest.subarray(156));
  const lying = t.tar([t.file("a", "x", { claimedSize: 1 << 20 })]);
  assert.equal(new TextDecoder().decode(lying.subarray(124, 135)), "00004000000");
});

Deno.test("a pax record's length counts its own digits", () => {
  assert.equal(new TextDecoder().decode(t.paxBody([["k", "v"]])), "6 k=v\n");
  assert.equal(new TextDecoder().decode(t.paxBody([["k", "v".repeat(4)]])), "9 k=vvvv\n");
  assert.equal(new TextDecoder().decode(t.paxBody([["k", "v".repeat(5)]])), "11 k=vvvvv\n");
  assert.equal(new TextDecoder().decode(t.paxBody([["k", "v".repeat(93)]]).subarray(0, 5)), "99 k=");
  assert.equal(new TextDecoder().decode(t.paxBody([["k", "v".repeat(94)]]).subarray(0, 6)), "101 k=");
});

Deno.test("writeLayout() writes layouts that skopeo and umoci take: whiteouts, opaque directories, hardlinks", () => {
  withScratch((directory) => {
    const lower = t.tar([
      t.directory("d"),
      t.file("d/old", "old"),
      t.directory("o"),
      t.file("o/hidden", "hidden"),
      t.file("keep", "keep"),
    ]);
    const upper = t.tar([
      t.directory("d"),
      t.whiteout("d/old"),
      t.directory("o"),
      t.opaque("o"),
      t.file("o/new", "new", { xattrs: { "user.note": "n" } }),
      t.hardlink("o/again", "o/new"),
    ]);
    const layout = join(directory, "layout");
    writeLayout(layout, { v1: { layers: [packLayer(lower, "none"), packLayer(upper, "gzip")] } });
    const env = { ...process.env, XDG_RUNTIME_DIR: directory };
    execFileSync("umoci", ["unpack", "--image", `${layout}:v1`, join(directory, "bundle")], { env });
    const root = join(directory, "bundle", "rootfs");
    const list = execFileSync("find", [".", "-printf", "%P %y %n\n"], { cwd: root, encoding: "utf8" });
    assert.deepEqual(
      list.trim().split("\n").sort(),
      [
        " d 4",
        "d d 2",
        "keep f 1",
        "o d 2",
        "o/again f 2",
        "o/new f 2",
      ].sort().map((line) => line.trimEnd()).map((line) => line === "d 4" ? " d 4" : line).map((l) => l.trim()),
    );
  });
});

Deno.test("every compression and both families of media types make layouts that skopeo copies whole", () => {
  withScratch((directory) => {
    const tarBytes = t.tar([t.file("big", new Uint8Array(3 << 20).fill(7))]);
    const all: Compression[] = ["none", "gzip", "gzip-members", "zstd", "zstd-frames"];
    const layers = all.map((compression) => packLayer(tarBytes, compression));
    const layout = join(directory, "layout");
    const [, docker, index] = writeLayout(layout, {
      oci: { layers },
      docker: { layers: layers.slice(0, 3), mediaTypes: "docker" },
      index: {
        images: [{ layers }, { layers: layers.slice(0, 1), platform: { os: "linux", architecture: "arm64" } }],
        attestation: true,
      },
    });
    execFileSync("skopeo", ["--insecure-policy", "copy", "-q", `oci:${layout}:oci`, `dir:${join(directory, "oci")}`]);
    // skopeo finds no docker manifest in a layout by its tag, but copies from the `dir` that is made of it.
    exportSkopeoDirectory(layout, "docker", join(directory, "docker-in"));
    execFileSync("skopeo", [
      "--insecure-policy",
      "copy",
      "-q",
      `dir:${join(directory, "docker-in")}`,
      `dir:${join(directory, "docker")}`,
    ]);
    execFileSync("skopeo", [
      "--insecure-policy",
      "copy",
      "-q",
      "--all",
      `oci:${layout}:index`,
      `dir:${join(directory, "index")}`,
    ]);
    const manifest = JSON.parse(readFileSync(join(directory, "index", "manifest.json"), "utf8"));
    assert.deepEqual(manifest.manifests.map((m: { platform: unknown }) => m.platform), [
      { os: "linux", architecture: "amd64" },
      { os: "linux", architecture: "arm64" },
      { architecture: "unknown", os: "unknown" },
    ]);
    assert.equal(index?.manifests.length, 2);
    const copied = readFileSync(join(directory, "docker", "manifest.json"));
    assert.equal(JSON.parse(copied.toString()).mediaType, docker?.descriptor.mediaType);
  });
});

Deno.test("a lie about a digest is stored under the digest that is said", () => {
  withScratch((directory) => {
    const said = `sha256:${"a".repeat(64)}`;
    const layer = packLayer(t.tar([t.file("a")]), "none", { lie: { digest: said, diffId: said, size: 5 } });
    const [written] = writeLayout(directory, { v1: { layers: [layer] } });
    const blob = (digest: string) => readFileSync(join(directory, "blobs", "sha256", digest.slice(7)));
    const manifest = JSON.parse(blob(written?.descriptor.digest ?? "").toString());
    assert.deepEqual(manifest.layers[0], {
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      digest: said,
      size: 5,
    });
    assert.deepEqual(new Uint8Array(blob(said)), layer.content);
  });
});
