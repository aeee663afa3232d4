/** Odd things that layers do to one another, as `odd-entries.ts` has them for one archive. */
import type { OddCase } from "./odd-case.ts";
import * as t from "./tar-writer.ts";

/** What most cases lie over. */
function lower(at: (path: string) => string): t.TarItem[] {
  return [
    t.directory(at("d"), { mode: 0o750, uid: 1, mtime: 2 }),
    t.file(at("d/old"), "old"),
    t.file(at("d/kept"), "kept"),
    t.directory(at("d/sub"), { mode: 0o700, mtime: 3 }),
    t.file(at("d/sub/deep"), "deep"),
    t.file(at("file"), "f"),
    t.symlink(at("link"), "d"),
    t.fifo(at("fifo")),
    t.hardlink(at("hard"), at("d/kept")),
  ];
}

const FILE_EXISTS = "Its marker is a node of the hidden name, where the layer's own entry would be.";
const IMPLIES_ANEW = "A directory without an entry is a new one of its own there, with mode 0755 over the lower one's.";
const NO_DOUBLES = "Its tar-split refuses a second entry of one name.";

export const ODD_LAYERS: OddCase[] = [
  {
    name: "whiteouts",
    layers: (at) => [lower(at), [
      t.directory(at("d"), { mode: 0o750, uid: 1, mtime: 2 }),
      t.whiteout(at("d/old")),
      t.whiteout(at("d/sub")),
      t.whiteout(at("file")),
      t.whiteout(at("link")),
      t.whiteout(at("fifo")),
      t.whiteout(at("hard")),
    ]],
  },
  {
    name: "whiteouts-without-parents",
    layers: (at) => [lower(at), [t.whiteout(at("d/old")), t.whiteout(at("d/sub/deep"))]],
    without: { podman: IMPLIES_ANEW },
  },
  {
    name: "whiteouts-of-other-types",
    layers: (at) => [lower(at), [
      t.file(at(".wh.file"), "content"),
      t.symlink(at(".wh.link"), "somewhere"),
      t.directory(at(".wh.d")),
      t.charDevice(at(".wh.fifo"), 0, 0),
    ]],
  },
  {
    name: "whiteouts-of-odd-names",
    layers: (at) => [
      [".x", "..x", "x", "wh.x", "-x", "\n"].map((name) => t.file(at(name), "x")),
      [t.whiteout(at(".x")), t.whiteout(at("..x")), t.whiteout(at("wh.x")), t.whiteout(at("-x")), t.whiteout(at("\n"))],
    ],
  },
  {
    name: "whiteouts-of-nothing",
    layers: (at) => [lower(at), [
      t.whiteout(at("nothing")),
      t.whiteout(at("d/nothing")),
      t.whiteout(at("no/parent")),
      t.whiteout(at("file/below")),
    ]],
    without: { podman: "A marker in a directory that is not there makes one." },
  },
  {
    name: "whiteouts-and-replacements",
    layers: (at) => [lower(at), [
      t.whiteout(at("file")),
      t.file(at("file"), "new"),
      t.directory(at("d"), { mode: 0o711 }),
      t.file(at("d/old"), "new"),
      t.whiteout(at("d/old")),
      t.whiteout(at("link")),
      t.directory(at("link")),
      t.file(at("link/in"), "x"),
    ]],
    without: { podman: FILE_EXISTS },
  },
  {
    name: "whiteout-behind-directory",
    layers: (at) => [lower(at), [t.directory(at("d"), { mtime: 5 }), t.file(at("d/new"), "x"), t.whiteout(at("d"))]],
    without: { podman: FILE_EXISTS },
  },
  {
    name: "hidden-and-implied",
    layers: (at) => [lower(at), [t.whiteout(at("d")), t.file(at("d/sub/new"), "x")]],
    without: { podman: FILE_EXISTS },
  },
  {
    name: "whiteouts-through-links",
    layers: (at) => [lower(at), [t.whiteout(at("link/old"))]],
    without: { podman: "A marker's directory is a directory of the layer's own, and hides the link." },
  },
  {
    name: "whiteouts-in-the-lowest",
    layers: (at) => [[...lower(at), t.whiteout(at("d/old")), t.opaque(at("d"))]],
    without: { podman: FILE_EXISTS },
  },
  {
    name: "opaque-first",
    layers: (
      at,
    ) => [lower(at), [t.directory(at("d")), t.opaque(at("d")), t.file(at("d/new"), "x"), t.file(at("d/old"), "new")]],
  },
  {
    name: "opaque-among-siblings",
    layers: (
      at,
    ) => [lower(at), [t.directory(at("d")), t.file(at("d/a"), "x"), t.opaque(at("d")), t.file(at("d/z"), "x")]],
  },
  {
    name: "opaque-last",
    layers: (at) => [lower(at), [
      t.directory(at("d")),
      t.file(at("d/new"), "x"),
      t.directory(at("d/sub")),
      t.file(at("d/sub/new"), "x"),
      t.opaque(at("d")),
    ]],
  },
  {
    name: "opaque-without-entry",
    layers: (at) => [lower(at), [t.opaque(at("d")), t.file(at("d/new"), "x")]],
    without: { podman: IMPLIES_ANEW },
  },
  {
    name: "opaque-with-implied",
    layers: (at) => [lower(at), [t.file(at("d/sub/new"), "x"), t.opaque(at("d"))]],
    without: { podman: IMPLIES_ANEW, umoci: "The implied directory keeps the hidden one's attributes." },
  },
  {
    name: "opaque-of-nothing",
    layers: (at) => [lower(at), [t.opaque(at("no")), t.opaque(at("file"))]],
    without: {
      podman: "A marker in a directory that is not there makes one.",
    },
  },
  {
    name: "opaque-over-a-link",
    layers: (at) => [lower(at), [t.directory(at("link")), t.opaque(at("link")), t.file(at("link/new"), "x")]],
  },
  {
    name: "opaque-over-a-link-without-entry",
    layers: (at) => [lower(at), [t.opaque(at("link")), t.file(at("link/new"), "x")]],
    without: { umoci: "It clears the link's target, as stereoscope#694 did." },
  },
  {
    name: "hardlinks-to-lower-layers",
    layers: (at) => [lower(at), [
      t.hardlink(at("new"), at("d/kept")),
      t.hardlink(at("linked"), at("link")),
      t.hardlink(at("implied/parent"), at("file")),
    ], [t.file(at("d/kept"), "replaced")]],
    without: { podman: "A link is made among the layer's own files." },
  },
  {
    name: "hardlinks-to-hidden-files",
    layers: (at) => [lower(at), [t.hardlink(at("new"), at("file")), t.whiteout(at("file"))]],
    without: { podman: "A link is made among the layer's own files." },
  },
  {
    name: "replacements",
    layers: (at) => {
      const olds = (
        name: string,
      ) => [t.file(name, "old"), t.directory(name), t.symlink(name, "away"), t.fifo(name), t.charDevice(name, 1, 3)];
      const news = (
        name: string,
      ) => [t.file(name, "new"), t.directory(name), t.symlink(name, "new"), t.fifo(name), t.blockDevice(name, 7, 9)];
      const pairs = [0, 1, 2, 3, 4].flatMap((i) => [0, 1, 2, 3, 4].map((j) => [i, j] as const));
      return [
        pairs.flatMap(([i, j]) =>
          [olds(at(`${i}${j}`))[i] ?? [], ...(i === 1 ? [t.file(at(`${i}${j}/in`), "x")] : [])].flat()
        ),
        pairs.flatMap(([i, j]) => news(at(`${i}${j}`))[j] ?? []),
      ];
    },
  },
  {
    name: "directories-again",
    layers: (at) => [
      [
        t.directory(at("d"), { mode: 0o700, uid: 5, mtime: 1, xattrs: { "user.old": "1", "user.both": "1" } }),
        t.file(at("d/kept"), "x"),
      ],
      [t.directory(at("d"), { mode: 0o755, uid: 6, mtime: 2, xattrs: { "user.both": "2", "user.new": "2" } })],
    ],
  },
  {
    name: "files-with-many-names",
    layers: (at) => [
      [t.file(at("a"), "one"), t.hardlink(at("b"), at("a")), t.hardlink(at("c"), at("a"))],
      [t.file(at("a"), "two")],
      [t.file(at("b"), "3")],
    ],
  },
  {
    name: "implied-parents",
    layers: (
      at,
    ) => [[
      t.file(at("a/b/c"), "x"),
      t.directory(at("late/d"), { mode: 0o700 }),
      t.directory(at("late"), { mode: 0o711 }),
    ], [
      t.file(at("a/b/d"), "y"),
      t.file(at("late/e"), "z"),
    ]],
    without: { podman: IMPLIES_ANEW },
  },
  {
    name: "files-as-parents",
    layers: (at) => [[t.file(at("f"), "x"), t.hardlink(at("g"), at("f"))], [t.file(at("f/below"), "y")]],
    without: { umoci: "It finds no directory where a lower layer has a file, and gives up." },
  },
  {
    name: "times-of-parents",
    layers: (
      at,
    ) => [[t.directory(at("d"), { mtime: 5 }), t.directory(at("d/e"), { mtime: 6 }), t.file(at("d/e/f"), "x")], [
      t.file(at("d/e/g"), "y"),
      t.whiteout(at("d/e/f")),
    ]],
    without: { podman: IMPLIES_ANEW },
  },
  {
    name: "overlay-leftovers",
    layers: (at) => [[t.file(at("gone"), "x")], [t.charDevice(at("gone"), 0, 0), t.charDevice(at("zero"), 0, 1)]],
    without: {
      umoci: "It makes the device.",
      podman: "It makes the device, and overlayfs takes it for its own marker.",
    },
  },
  {
    name: "same-name-thrice",
    layers: (at) => [
      [t.file(at("x"), "1")],
      [t.whiteout(at("x"))],
      [t.directory(at("x")), t.file(at("x/y"), "3")],
      [t.directory(at("x")), t.opaque(at("x")), t.symlink(at("x/z"), "y")],
    ],
  },
  {
    name: "doubles-of-markers",
    layers: (
      at,
    ) => [lower(at), [t.whiteout(at("file")), t.whiteout(at("file")), t.file(at("file"), "x"), t.whiteout(at("file"))]],
    without: { podman: NO_DOUBLES },
  },
];
