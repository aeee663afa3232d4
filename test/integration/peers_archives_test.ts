/** The odd archives that Go and Python test their readers with, each as a layer: read as they read them, unpacked as their peers unpack them. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, byteStringOf } from "../../lib/base/byte-string.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { rejects, thrownBy } from "../lab/expect.ts";
import { GO_ARCHIVES, GO_FILES, GO_OTHERS, type GoArchive, type GoEntry } from "../lab/go-archives.ts";
import { gnuTree, PYTHON, tarfileTree, withOurTimes } from "../lab/peers.ts";
import { runBytes } from "../lab/run.ts";
import { readInPieces } from "../lab/tar-events.ts";
import { compareTrees, type TreeEntry } from "../lab/tree.ts";
import { unpack, unpackBothWays } from "../lab/unpacked.ts";

const READER = "Cannot read the layer as a tar archive: ", WRITER = "Cannot unpack the layer: ";
const TYPES = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
} as const;
/** Larger ones, nearly all hole, are read and not unpacked: whoever lists the tree would read them whole. */
const LARGEST = 1_000_000_000;

async function contentOf(file: string): Promise<Uint8Array> {
  const path = join(GO_ARCHIVES, file);
  if (!file.endsWith(".bz2")) return Deno.readFileSync(path);
  const expand = "import bz2, sys; sys.stdout.buffer.write(bz2.open(sys.argv[1]).read())";
  return await runBytes(PYTHON, ["-c", expand, path]);
}

/** What our reader says, in the words of the table. */
function read(archive: Uint8Array): GoEntry[] {
  return readInPieces(archive, 4096).entries.map((entry) => {
    const { seconds, nanoseconds } = entry.mtime;
    const xattrs = [...entry.xattrs].map(([key, value]) => [key, String.fromCharCode(...value)]);
    return complete({
      type: TYPES[entry.type],
      name: entry.name,
      link: entry.linkName,
      mode: entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      size: entry.size,
      mtime: nanoseconds === 0 ? seconds : `${seconds}.${String(nanoseconds).padStart(9, "0")}`,
      xattrs: Object.fromEntries(xattrs),
    });
  });
}

function complete(entry: GoEntry): Required<GoEntry> {
  return { link: "", uid: 0, gid: 0, size: 0, mtime: 0, xattrs: {}, ...entry };
}

/** Names in the table are text, or bytes that are none. */
function bytesOf(name: string): ByteString {
  return /[^\0-\xff]/.test(name) ? byteStringOf(name) : name;
}

function errorOf(file: GoArchive): string | undefined {
  return file.ours !== undefined && "error" in file.ours ? file.ours.error : undefined;
}

Deno.test("Go's collection is in the table whole", () => {
  const names = [...Deno.readDirSync(GO_ARCHIVES)].map(({ name }) => name).sort();
  assert.deepEqual(names, [...Object.keys(GO_FILES), ...GO_OTHERS].sort());
});

Deno.test("Go's odd archives are read as Go reads them, entry by entry, or refused by name", async () => {
  for (const [name, file] of Object.entries(GO_FILES)) {
    const archive = await contentOf(name), error = errorOf(file);
    if (error !== undefined) {
      assert.deepEqual(thrownBy(() => read(archive)), { code: "BROKEN_LAYER", message: `${READER}${error}.` }, name);
      continue;
    }
    const expected = file.ours !== undefined && "entries" in file.ours ? file.ours.entries : file.go;
    assert.ok(typeof expected !== "string", name);
    assert.deepEqual(
      read(archive),
      expected.map(complete).map((entry) => ({ ...entry, name: bytesOf(entry.name) })),
      name,
    );
  }
});

Deno.test("what Go refuses is refused as a layer, and what is refused beyond that has its reason", async () => {
  for (const [name, file] of Object.entries(GO_FILES)) {
    const error = errorOf(file), message = file.layer !== undefined ? `${WRITER}${file.layer}.` : `${READER}${error}.`;
    if (file.go === "error" || error !== undefined) {
      const archive = await contentOf(name);
      await rejects(() => unpack([archive], () => {}), "BROKEN_LAYER", message);
    }
    if (file.ours !== undefined && file.go !== "error") assert.notEqual(file.ours.why, "", name);
  }
});

const unpackable = Object.entries(GO_FILES).filter(([, file]) =>
  file.go !== "error" && errorOf(file) === undefined &&
  (typeof file.go === "string" || file.go.every(({ size = 0 }) => size < LARGEST))
);

Deno.test("Go's odd archives become what GNU tar and Python extract", async () => {
  await using scratch = scratchDirectory("go");
  let compared = 0;
  for (const [name, { without = {} }] of unpackable) {
    const archive = await contentOf(name), path = join(GO_ARCHIVES, name);
    await unpack([archive], async ({ tree }) => {
      const ours = Object.values(tree), at = (peer: string) => join(scratch.path, `${peer}-${name}`);
      if (without.tar === undefined) assertSame(name, ours, await gnuTree(path, at("tar")), {});
      if (without.tarfile === undefined) assertSame(name, ours, await tarfileTree(path, at("python")), { links: true });
      compared++;
    });
  }
  assert.ok(compared >= 25, `only ${compared}`);
});

function assertSame(name: string, ours: TreeEntry[], theirs: TreeEntry[], spared: { links?: boolean }): void {
  // No archive here has an entry for its top.
  assert.deepEqual(compareTrees(ours, withOurTimes(ours, theirs, spared), { skip: ["."] }), [], name);
}

/** Debian's libpython3.11-testsuite. */
const PYTHON_ARCHIVES = "/usr/lib/python3.11/test";

/** Changes a header where it stands, and its sum. */
function rewrite(archive: Uint8Array, name: string, change: (header: Uint8Array) => void): void {
  const at = new TextDecoder("latin1").decode(archive).indexOf(`${name}\0`), header = archive.subarray(at, at + 512);
  change(header);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0`), 148);
}

Deno.test("Python's collection is refused for two headers, and without them is what GNU tar and Python extract", async () => {
  const archive = Deno.readFileSync(join(PYTHON_ARCHIVES, "testtar.tar"));
  // What chown(2) takes for "no change" is no owner of any file; and what Solaris wrote before pax was a standard is in no image.
  const refused = [
    '"gnu/regtype-gnu-uid" has the impossible owner 4294967295',
    '"/tmp/PaxHeaders.378/misc/regtype-suntar" is of type "X", which no layer may hold',
  ];
  await rejects(() => unpack([archive], () => {}), "BROKEN_LAYER", `${READER}${refused[0]}.`);
  rewrite(archive, "gnu/regtype-gnu-uid", (header) => header[115] = header[123] = 0xfe);
  await rejects(() => unpack([archive], () => {}), "BROKEN_LAYER", `${READER}${refused[1]}.`);
  rewrite(archive, "misc/regtype-suntar", (header) => header[156] = 0x78);
  await using scratch = scratchDirectory("python");
  const path = join(scratch.path, "testtar.tar");
  writeFileSync(path, archive);
  const tar = await gnuTree(path, join(scratch.path, "tar")),
    python = await tarfileTree(path, join(scratch.path, "python"));
  await unpackBothWays([archive], ({ tree }) => {
    const ours = Object.values(tree);
    assert.ok(ours.length > 100);
    assertSame("testtar.tar and tar", ours, tar, {});
    assertSame("testtar.tar and tarfile", ours, python, { links: true });
  });
});

Deno.test("Python's archive of a header without end is refused", async () => {
  const archive = Deno.readFileSync(join(PYTHON_ARCHIVES, "recursion.tar"));
  const why = "an extended header holds a record with a wrong length";
  await rejects(() => unpack([archive], () => {}), "BROKEN_LAYER", `${READER}${why}.`);
});
