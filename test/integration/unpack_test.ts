/** Layers over layers: whiteouts, opaque directories, links and replacements, on a real filesystem. */
import assert from "node:assert/strict";
import { rejects } from "../lab/expect.ts";
import { type LayerContent, outline, unpack, unpackBothWays } from "../lab/unpacked.ts";
import * as t from "../lab/tar-writer.ts";

async function becomes(layers: LayerContent[], expected: string[], warnings: string[] = []): Promise<void> {
  await unpackBothWays(layers, async (result) => {
    assert.deepEqual([await outline(result), result.warnings], [expected, warnings]);
  });
}

async function breaks(layers: LayerContent[], why: string): Promise<void> {
  for (const openat2 of [true, false]) {
    await rejects(() => unpack(layers, () => {}, { openat2 }), "BROKEN_LAYER", why);
  }
}

const LOWER = [
  t.directory("d"),
  t.file("d/old", "old"),
  t.file("d/kept", "kept"),
  t.directory("d/sub"),
  t.file("d/sub/deep", "deep"),
  t.file("f", "f"),
];

Deno.test("a whiteout hides what lies below, before and behind other entries", async () => {
  await becomes([LOWER, [t.whiteout("d/old"), t.whiteout("f"), t.whiteout("d/sub")]], ["d/", "d/kept = kept"]);
  await becomes(
    [LOWER, [t.file("d/new", "new"), t.whiteout("d/old"), t.whiteout("nothing"), t.whiteout("d/nothing")]],
    ["d/", "d/kept = kept", "d/new = new", "d/sub/", "d/sub/deep = deep", "f = f"],
  );
});

Deno.test("a whiteout keeps what its own layer put under the name, wherever the marker stands", async () => {
  const own = [t.directory("d/sub"), t.file("d/sub/new", "new"), t.file("f", "new f")];
  const markers = [t.whiteout("d/sub"), t.whiteout("f")];
  const expected = ["d/", "d/kept = kept", "d/old = old", "d/sub/", "d/sub/new = new", "f = new f"];
  await becomes([LOWER, [...markers, ...own]], expected);
  await becomes([LOWER, [...own, ...markers]], expected);
  await becomes([LOWER, [own[0] as t.TarItem, ...markers, ...own.slice(1)]], expected);
});

Deno.test("a whiteout hides by name, whatever the type: links are not followed, other names stay", async () => {
  const lower = [
    t.file("a", "x"),
    t.hardlink("b", "a"),
    t.directory("dir"),
    t.file("dir/in", "in"),
    t.symlink("link", "dir"),
    t.fifo("pipe"),
  ];
  await becomes([lower, [t.whiteout("a"), t.whiteout("link"), t.whiteout("pipe")]], ["b = x", "dir/", "dir/in = in"]);
});

Deno.test("an opaque directory loses what lay below, wherever the marker stands", async () => {
  const marker = t.opaque("d"),
    rest = [t.directory("d"), t.file("d/new", "new"), t.directory("d/sub"), t.file("d/sub/n", "n")];
  for (let at = 0; at <= rest.length; at++) {
    await becomes([LOWER, rest.toSpliced(at, 0, marker)], ["d/", "d/new = new", "d/sub/", "d/sub/n = n", "f = f"]);
  }
  await becomes([LOWER, [marker]], ["d/", "f = f"]);
  await becomes([LOWER, [t.file("top", "t"), t.opaque("")]], ["top = t"]);
});

Deno.test("parents that a layer implies are its own: an opaque marker behind them keeps what it put there", async () => {
  await becomes([LOWER, [t.file("d/sub/n", "n"), t.opaque("d")]], ["d/", "d/sub/", "d/sub/n = n", "f = f"]);
});

Deno.test("a directory that is hidden, and implied by what its layer puts below, has nothing of the old one", async () => {
  const lower = [
    t.directory("d", { mode: 0o2770, uid: 5, gid: 6, mtime: 7, xattrs: { "user.x": "y" } }),
    t.file("d/old", "old"),
    t.directory("d/e", { mode: 0o700, uid: 5 }),
  ];
  for (const upper of [[t.whiteout("d"), t.file("d/e/new", "n")], [t.file("d/e/new", "n"), t.whiteout("d")]]) {
    await unpackBothWays([lower, upper], ({ tree }) => {
      for (const path of ["d", "d/e"]) {
        const { mode, uid, gid, xattrs, mtime } = tree[path] ?? {};
        assert.deepEqual({ mode, uid, gid, xattrs }, { mode: 0o755, uid: 0, gid: 0, xattrs: {} });
        assert.notEqual(mtime, "7000000000");
      }
      assert.equal(tree["d/old"], undefined);
    });
  }
});

Deno.test("a directory that a layer implies is root's with mode 0755, whatever bits its parent gives on", async () => {
  const layer = [t.directory("d", { mode: 0o2775, gid: 50 }), t.file("d/e/f/g", "x")];
  await unpackBothWays([layer, [t.symlink("d/e/l", "f")], [t.opaque("d/e/l")]], ({ tree }) => {
    for (const path of ["d/e", "d/e/f", "d/e/l"]) {
      const { type, mode, uid, gid } = tree[path] ?? {};
      assert.deepEqual({ type, mode, uid, gid }, { type: "directory", mode: 0o755, uid: 0, gid: 0 }, path);
    }
  });
});

Deno.test("an opaque marker or a whiteout never reaches through a link", async () => {
  const lower = [t.directory("target"), t.file("target/keep", "k"), t.symlink("link", "target")];
  const replaced = ["link/", "link/new = n", "target/", "target/keep = k"];
  await becomes([lower, [t.opaque("link"), t.directory("link"), t.file("link/new", "n")]], replaced);
  await becomes([lower, [t.directory("link"), t.opaque("link"), t.file("link/new", "n")]], replaced);
  await becomes([lower, [t.opaque("link")]], ["link/", "target/", "target/keep = k"]);
  await becomes([lower, [t.opaque("link"), t.file("link/new", "n")]], replaced);
  // A link of the marker's own layer is newer than what the marker hides.
  await becomes([lower, [t.symlink("link", "elsewhere"), t.opaque("link")]], [
    "link -> elsewhere",
    "target/",
    "target/keep = k",
  ]);
});

Deno.test("markers below what is no directory, or is not there, hide nothing", async () => {
  await becomes([LOWER, [t.whiteout("f/x"), t.opaque("f"), t.whiteout("no/x"), t.opaque("no/x")]], [
    "d/",
    "d/kept = kept",
    "d/old = old",
    "d/sub/",
    "d/sub/deep = deep",
    "f = f",
  ]);
});

Deno.test("markers of the lowest layer hide nothing, and none is ever a file", async () => {
  await becomes([[...LOWER.slice(0, 2), t.whiteout("d/old"), t.opaque("d")]], ["d/", "d/old = old"]);
});

Deno.test("a whiteout that names nothing, or holds files, is refused", async () => {
  for (const name of [".wh.", ".wh..", ".wh..."]) {
    await breaks([LOWER, [t.file(`d/${name}`)]], `Cannot unpack the layer: the whiteout "${name}" names nothing.`);
  }
  await breaks(
    [LOWER, [t.file("d/.wh.sub/x")]],
    'Cannot unpack the layer: there are files below the whiteout "d/.wh.sub".',
  );
});

Deno.test("what aufs left beside the files is not unpacked, but serves as the target of hardlinks", async () => {
  await becomes([
    [
      t.directory(".wh..wh.plnk"),
      t.file(".wh..wh.plnk/12.34", "shared"),
      t.directory(".wh..wh.orph"),
      t.file(".wh..wh.aufs", ""),
      t.hardlink("a", ".wh..wh.plnk/12.34"),
      t.hardlink("b", ".wh..wh.plnk/12.34"),
    ],
    [t.hardlink("c", "a")],
  ], ["a = shared (a, b, c)", "b = shared (a, b, c)", "c = shared (a, b, c)"]);
});

Deno.test("hardlinks: backward, forward, in chains, to symlinks, to themselves, to lower layers", async () => {
  await becomes([[t.file("a", "x"), t.hardlink("b", "./a"), t.hardlink("c", "/b")]], [
    "a = x (a, b, c)",
    "b = x (a, b, c)",
    "c = x (a, b, c)",
  ]);
  await becomes([[t.hardlink("c", "b"), t.hardlink("b", "a"), t.file("a", "x")]], [
    "a = x (a, b, c)",
    "b = x (a, b, c)",
    "c = x (a, b, c)",
  ]);
  await becomes([[t.symlink("s", "nowhere"), t.hardlink("h", "s")]], ["h -> nowhere", "s -> nowhere"]);
  await becomes([[t.file("a", "x"), t.hardlink("a", "a")]], ["a = x"]);
  await becomes([[t.directory("d"), t.file("d/a", "x")], [t.hardlink("n/e/w", "d/a")]], [
    "d/",
    "d/a = x (d/a, n/e/w)",
    "n/",
    "n/e/",
    "n/e/w = x (d/a, n/e/w)",
  ]);
});

Deno.test("a hardlink to a lower layer survives the whiteout of the old name, and an opaque directory", async () => {
  await becomes([[t.file("old", "x")], [t.hardlink("new", "old"), t.whiteout("old")]], ["new = x"]);
  await becomes([[t.directory("d"), t.file("d/old", "x")], [t.hardlink("d/new", "d/old"), t.opaque("d")]], [
    "d/",
    "d/new = x",
  ]);
  // Said again by the upper layer, the name is the upper layer's, though the file is the same as before.
  await becomes(
    [[t.directory("d"), t.file("a", "x"), t.hardlink("d/b", "a")], [t.hardlink("d/b", "a"), t.opaque("d")]],
    [
      "a = x (a, d/b)",
      "d/",
      "d/b = x (a, d/b)",
    ],
  );
});

Deno.test("hardlinks replace what has their name, and what comes later replaces them", async () => {
  await becomes([[t.file("a", "x"), t.file("b", "y"), t.hardlink("b", "a")]], ["a = x (a, b)", "b = x (a, b)"]);
  await becomes([[t.file("a", "x"), t.directory("b"), t.file("b/c", "y"), t.hardlink("b", "a")]], [
    "a = x (a, b)",
    "b = x (a, b)",
  ]);
  await becomes([[t.file("a", "x"), t.hardlink("b", "a"), t.file("b", "y")]], ["a = x", "b = y"]);
  await becomes([[t.hardlink("b", "a"), t.file("b", "last"), t.file("a", "x")]], ["a = x", "b = last"]);
  await becomes([[t.hardlink("b", "a"), t.symlink("b", "last"), t.file("a", "x")]], ["a = x", "b -> last"]);
});

Deno.test("hardlinks that lead nowhere, to directories, in circles or through their own target are refused", async () => {
  const nowhere = (from: string, to: string) =>
    `Cannot unpack the layer: the hardlink "${from}" leads to "${to}", which does not exist.`;
  await breaks([[t.hardlink("b", "a")]], nowhere("b", "a"));
  await breaks([[t.hardlink("b", "no/such/a")]], nowhere("b", "no/such/a"));
  await breaks([[t.hardlink("a", "b"), t.hardlink("b", "a")]], nowhere("b", "a"));
  await breaks([[t.file("a", "x")], [t.whiteout("a"), t.hardlink("b", "a")]], nowhere("b", "a"));
  await breaks(
    [[t.directory("d"), t.hardlink("b", "d")]],
    'Cannot unpack the layer: the hardlink "b" leads to a directory.',
  );
  await breaks([[t.hardlink("b", "/")]], 'Cannot unpack the layer: the hardlink "b" leads to a directory.');
  await breaks(
    [[t.file("f", "x"), t.hardlink("f/x", "f")]],
    'Cannot unpack the layer: the hardlink "f/x" leads to a directory.',
  );
  await breaks([[t.directory("d"), t.file("d/a", "x"), t.hardlink("d", "d/a")]], nowhere("d", "d/a"));
});

Deno.test("a later entry takes the place of an earlier one, whatever both are", async () => {
  const olds = (
    name: string,
  ) => [t.file(name, "old"), t.directory(name), t.symlink(name, "away"), t.fifo(name), t.charDevice(name, 1, 3)];
  const news = (name: string): [t.TarEntry, string][] => [
    [t.file(name, "new"), `${name} = new`],
    [t.directory(name), `${name}/`],
    [t.symlink(name, "new"), `${name} -> new`],
    [t.fifo(name), `${name} fifo`],
    [t.blockDevice(name, 7, 9), `${name} block 7:9`],
  ];
  const lower: t.TarItem[] = [], upper: t.TarItem[] = [], expected: string[] = [];
  for (const i of olds("").keys()) {
    for (const j of news("").keys()) {
      const name = `${i}-${j}`, [item, line] = news(name)[j] ?? [];
      lower.push(olds(name)[i] as t.TarItem);
      upper.push(item as t.TarItem);
      expected.push(line as string);
    }
  }
  await becomes([lower, upper], expected.sort());
  await becomes([[...lower, ...upper]], expected);
});

Deno.test("a directory over a directory keeps what is in it; a file over one takes all away", async () => {
  await becomes([LOWER, [t.directory("d", { mode: 0o700 })]], [
    "d/",
    "d/kept = kept",
    "d/old = old",
    "d/sub/",
    "d/sub/deep = deep",
    "f = f",
  ]);
  await becomes([LOWER, [t.file("d", "now a file")]], ["d = now a file", "f = f"]);
});

Deno.test("a file of a lower layer that has other names is replaced, never written into", async () => {
  await becomes([
    [t.file("a", "one"), t.hardlink("b", "a"), t.hardlink("c", "a")],
    [t.file("a", "two")],
    [t.file("b", "3")],
  ], ["a = two", "b = 3", "c = one"]);
});

Deno.test("missing parents are made, files in their place are replaced, links within the tree are followed", async () => {
  await becomes([[t.file("a/b/c", "x")]], ["a/", "a/b/", "a/b/c = x"]);
  await becomes([[t.file("a", "file"), t.file("a/b", "x")]], ["a/", "a/b = x"]);
  await becomes([[t.file("a", "x"), t.hardlink("b", "a")], [t.file("a/b", "y")]], ["a/", "a/b = y", "b = x"]);
  await becomes([
    [t.directory("usr"), t.directory("usr/lib"), t.symlink("lib", "usr/lib"), t.symlink("abs", "/usr/lib")],
    [t.file("lib/one", "1"), t.file("abs/two", "2"), t.whiteout("abs/one")],
  ], ["abs -> /usr/lib", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/one = 1", "usr/lib/two = 2"]);
  await becomes([[t.symlink("dangling", "run/made"), t.file("dangling/x", "x")]], [
    "dangling -> run/made",
    "run/",
    "run/made/",
    "run/made/x = x",
  ]);
});

Deno.test("a directory takes the place of a link, except where that would hide half of the system", async () => {
  const merged = [
    t.directory("usr"),
    t.directory("usr/lib"),
    t.file("usr/lib/x", "x"),
    t.symlink("lib", "usr/lib"),
    t.symlink("var", "usr"),
  ];
  await becomes([merged, [t.directory("var"), t.file("var/y", "y")]], [
    "lib -> usr/lib",
    "usr/",
    "usr/lib/",
    "usr/lib/x = x",
    "var/",
    "var/y = y",
  ]);
  const refused = "Cannot unpack the layer: it puts a directory over the link /lib.";
  await breaks([merged, [t.directory("./lib")]], refused);
  await breaks([merged, [t.opaque("lib")]], refused);
  await breaks(
    [[t.symlink("usr/sbin", "bin")], [t.directory("usr/sbin")]],
    "Cannot unpack the layer: it puts a directory over the link /usr/sbin.",
  );
  // Unless told otherwise.
  for (const layer of [[t.directory("lib"), t.file("lib/y", "y")], [t.opaque("lib"), t.file("lib/y", "y")]]) {
    await unpackBothWays([merged, layer], async (result) => {
      assert.deepEqual(await outline(result), [
        "lib/",
        "lib/y = y",
        "usr/",
        "usr/lib/",
        "usr/lib/x = x",
        "var -> usr",
      ]);
    }, { replaceDirectoryLinks: true });
  }
});

Deno.test("a layer that holds nothing changes nothing: an empty archive, two blocks of zeros, an entry for the top", async () => {
  const empty = [new Uint8Array(0), new Uint8Array(1024), t.tar([t.directory("./")])];
  await unpackBothWays([...empty, LOWER, ...empty], async (result) => {
    assert.deepEqual((await outline(result)).length, LOWER.length);
    assert.deepEqual(result.warnings, [
      "layer 1 ends without the two blocks of zeros that end an archive.",
      "layer 5 ends without the two blocks of zeros that end an archive.",
    ]);
  });
});

Deno.test("descriptors that were kept for a path are not used when the path leads elsewhere", async () => {
  // The same path before and behind each change of what it goes through.
  await becomes([
    [
      t.directory("x"),
      t.directory("y"),
      t.symlink("l", "x"),
      t.file("l/1", "1"),
      t.symlink("l", "y"),
      t.file("l/2", "2"),
    ],
    [t.file("l/3", "3"), t.whiteout("l"), t.file("l/4", "4")],
  ], ["l/", "l/4 = 4", "x/", "x/1 = 1", "y/", "y/2 = 2", "y/3 = 3"]);
  await becomes([
    [t.file("a/b/c/1", "1"), t.file("a", "file"), t.file("a/b/c/2", "2"), t.symlink("a", "z"), t.file("a/b/c/3", "3")],
  ], ["a -> z", "z/", "z/b/", "z/b/c/", "z/b/c/3 = 3"]);
  // Through more directories than are kept open.
  const many = Array.from({ length: 100 }, (_, i) => t.file(`many/${i % 50}/f${i}`, "x"));
  await unpackBothWays([many], ({ tree }) => assert.equal(Object.keys(tree).length, 152));
});
