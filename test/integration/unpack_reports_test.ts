/** What went wrong with layers elsewhere and was reported: each has a test, here or where the rule is tested anyway. */
import assert from "node:assert/strict";
import { rejects } from "../lab/expect.ts";
import { outline, unpack, unpackBothWays } from "../lab/unpacked.ts";
import * as t from "../lab/tar-writer.ts";

const HERE = "test/integration/unpack_reports_test.ts";
const LAYERS = "test/integration/unpack_test.ts", ATTRIBUTES = "test/integration/unpack_attributes_test.ts";
const STREAM = "test/integration/unpack_stream_test.ts", ESCAPE = "test/integration/unpack_escape_test.ts";

/** Report, what it teaches, and the test that would fail here for it. */
const REPORTS: [report: string, lesson: string, file: string, test: string][] = [
  [
    "podman#20917",
    "bytes behind the archive's end are the layer's",
    STREAM,
    "bytes behind the archive's end belong to the diffID, and to no file",
  ],
  [
    "containerd#13030",
    "layers unpacked at once lost whiteouts",
    HERE,
    "a hundred layers that hide one another's files",
  ],
  [
    "containerd#4659, kaniko#2308",
    "a whiteout below what is no directory",
    LAYERS,
    "markers below what is no directory, or is not there, hide nothing",
  ],
  [
    "containerd#6991",
    "an opaque marker among its siblings",
    LAYERS,
    "an opaque directory loses what lay below, wherever the marker stands",
  ],
  [
    "containerd#2458",
    "a hardlink to a link is no link to its target",
    HERE,
    "a hardlink to a link is a second name of the link",
  ],
  [
    "bootc#637, bootc#856, rpm-ostree#4820",
    "hardlinks that stand before their target",
    HERE,
    "hardlinks that stand before their target, across directories, over older files, and in turn",
  ],
  [
    "go-containerregistry#977",
    "layers in the wrong order break hardlinks",
    HERE,
    "a hardlink leads to the file as the layers below it left it",
  ],
  ["elemental-toolkit#599", "markers became files", HERE, "no marker of any kind is ever a file"],
  [
    "moby#33958, moby#17766",
    "times of directories that have gone",
    ATTRIBUTES,
    "directories keep their own time, whatever is made, replaced or removed in them, also by later layers",
  ],
  [
    "umoci#49, gvenzl/oci-oracle-xe#249",
    "attributes that cannot be set",
    ATTRIBUTES,
    "attributes that the filesystem does not take are left out, with one warning each, and not without end",
  ],
  [
    "apple/container#1797, A3S Box#78",
    "links whose parent is missing, or whose name is taken",
    HERE,
    "links of both kinds get their parents, and take the place of what is there",
  ],
  [
    "stereoscope#694",
    "an opaque marker over a link cleared its target",
    LAYERS,
    "an opaque marker or a whiteout never reaches through a link",
  ],
  [
    "moby#34092",
    "Go wrote a prefix into GNU's header",
    HERE,
    "a long name as Go before 1.8 wrote it beside a large owner",
  ],
  ["libarchive#1096", "GNU tar's comments in access lists", HERE, "an access list with GNU tar's comments"],
];

/** Bounds of what a layer may hold, and the tests of each. */
const BOUNDS: [bound: string, file: string, test: string][] = [
  [
    "5 million entries",
    "test/integration/unpack_bounds_test.ts",
    "five million entries are as many as any image may have",
  ],
  [
    "paths of 4095 bytes, names of 255, 256 directories",
    ESCAPE,
    "paths that no filesystem holds are refused; names of strangers are escaped in the message",
  ],
  [
    "512 layers",
    "test/unit/formats_manifest_test.ts",
    "more layers than any system has are refused, and so many as are allowed are read",
  ],
  [
    "attributes of 64 KiB",
    ATTRIBUTES,
    "attributes that are larger than the filesystem can keep are refused by name and size",
  ],
  ["40 links on a path", ESCAPE, "forty links are followed, forty-one and circles are not"],
  [
    "headers of 1 MiB",
    "test/unit/formats_tar_hostile_test.ts",
    "headers that would fill the memory are refused before anything is kept of them",
  ],
  [
    "65,536 pieces of a sparse file",
    "test/unit/formats_tar_sparse_test.ts",
    "a map without end is refused before it fills the memory",
  ],
  ["a thousand times the compressed size", STREAM, "a bomb is stopped long before its end"],
];

Deno.test("each report and each bound has the test that stands beside it", () => {
  const root = new URL("../../", import.meta.url);
  for (
    const [file, test] of [
      ...REPORTS.map(([, , file, test]) => [file, test] as const),
      ...BOUNDS.map(([, file, test]) => [file, test] as const),
    ]
  ) {
    const text = Deno.readTextFileSync(new URL(file, root));
    assert.ok(
      new RegExp(`\\btest(?:Both)?\\(\\s*${escape(JSON.stringify(test))}`).test(text),
      `${file} has no test ${test}`,
    );
  }
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

Deno.test("a hundred layers that hide one another's files", async () => {
  const layers = Array.from({ length: 100 }, (_, i) => [
    t.directory("d"),
    t.file(`d/${i}`, String(i)),
    ...(i > 0 && i % 10 === 0 ? [t.opaque("d")] : [t.whiteout(`d/${i - 1}`)]),
  ]);
  await unpackBothWays(layers, async (result) => assert.deepEqual(await outline(result), ["d/", "d/99 = 99"]));
});

Deno.test("a hardlink to a link is a second name of the link", async () => {
  await unpackBothWays([
    [t.directory("d"), t.file("d/f", "x"), t.symlink("to-file", "d/f"), t.symlink("to-directory", "d")],
    [t.hardlink("a", "to-file"), t.hardlink("b", "to-directory"), t.whiteout("to-directory")],
  ], async (result) => {
    assert.deepEqual(await outline(result), ["a -> d/f", "b -> d", "d/", "d/f = x", "to-file -> d/f"]);
    assert.deepEqual(result.tree["a"]?.links, ["a", "to-file"]);
  });
});

Deno.test("hardlinks that stand before their target, across directories, over older files, and in turn", async () => {
  await unpackBothWays([
    [t.file("usr/bin/tool", "old"), t.file("usr/bin/other", "old")],
    [
      t.hardlink("usr/bin/tool", "usr/lib/store/object"),
      t.hardlink("usr/bin/other", "usr/bin/tool"),
      t.hardlink("new/deep/name", "usr/bin/other"),
      t.file("usr/lib/store/object", "new", { mode: 0o755 }),
      t.whiteout("usr/bin/tool"),
    ],
  ], async (result) => {
    const all = "(new/deep/name, usr/bin/other, usr/bin/tool, usr/lib/store/object)";
    assert.deepEqual((await outline(result)).filter((line) => !line.endsWith("/")), [
      `new/deep/name = new ${all}`,
      `usr/bin/other = new ${all}`,
      `usr/bin/tool = new ${all}`,
      `usr/lib/store/object = new ${all}`,
    ]);
  });
});

Deno.test("a hardlink leads to the file as the layers below it left it", async () => {
  await unpackBothWays(
    [[t.file("f", "1")], [t.file("f", "2")], [t.hardlink("link", "f")], [t.file("f", "3")]],
    async (result) => {
      assert.deepEqual(await outline(result), ["f = 3", "link = 2"]);
    },
  );
});

Deno.test("no marker of any kind is ever a file", async () => {
  const markers = (at: string) => [
    t.whiteout(`${at}gone`),
    t.file(`${at}.wh.file`, "content"),
    t.symlink(`${at}.wh.link`, "x"),
    t.directory(`${at}.wh.directory`),
    t.hardlink(`${at}.wh.hard`, "kept"),
    t.charDevice(`${at}.wh.device`, 0, 0),
    t.file(`${at}.wh..wh..opq`),
    t.file(`${at}.wh..wh.aufs`, "x"),
    t.directory(`${at}.wh..wh.orph`),
  ];
  for (const at of ["", "d/", "./d/e/"]) {
    const layers = [[t.file("kept", "x"), ...markers(at)], [t.directory("d/e"), ...markers(at), t.file("kept", "y")]];
    await unpackBothWays(layers, ({ tree }) => {
      assert.deepEqual(Object.keys(tree).filter((path) => path.includes(".wh.")), []);
      assert.equal(tree["kept"]?.type, "file");
    });
  }
});

Deno.test("links of both kinds get their parents, and take the place of what is there", async () => {
  await unpackBothWays([
    [
      t.file("f", "x"),
      t.file("taken", "old"),
      t.directory("full"),
      t.file("full/in", "old"),
      t.symlink("away", "full"),
    ],
    [
      t.symlink("a/b/link", "../../f"),
      t.hardlink("c/d/hard", "f"),
      t.symlink("taken", "f"),
      t.hardlink("full", "f"),
      t.hardlink("away", "f"),
      t.symlink("away", "f"),
    ],
  ], async (result) => {
    assert.deepEqual(await outline(result), [
      "a/",
      "a/b/",
      "a/b/link -> ../../f",
      "away -> f",
      "c/",
      "c/d/",
      "c/d/hard = x (c/d/hard, f, full)",
      "f = x (c/d/hard, f, full)",
      "full = x (c/d/hard, f, full)",
      "taken -> f",
    ]);
  });
});

Deno.test("a long name as Go before 1.8 wrote it beside a large owner", async () => {
  const prefix = "usr/share/".padEnd(120, "long/"), raw = { tail: prefix };
  const layer = [t.file("name", "x", { format: "gnu", uid: 3_000_000, raw })];
  await unpack([layer], ({ tree }) => assert.equal(tree[`${prefix.replace(/\/$/, "")}/name`]?.uid, 3_000_000));
});

Deno.test("an access list with GNU tar's comments", async () => {
  const text = "user::rw-\nuser:1000:rw-\t#effective:r--\ngroup::r--\nmask::r--\nother::r--\n";
  await unpack([[t.file("f", "x", { pax: [["SCHILY.acl.access", text]] })]], ({ tree, warnings }) => {
    assert.deepEqual([Object.keys(tree["f"]?.xattrs ?? {}), warnings], [["system.posix_acl_access"], []]);
  });
  await rejects(
    () => unpack([[t.hardlink("a", "b", { pax: [["SCHILY.acl.access", text]] })]], () => {}),
    "BROKEN_LAYER",
    'Cannot unpack the layer: the hardlink "a" leads to "b", which does not exist.',
  );
});
