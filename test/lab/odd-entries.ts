/**
 * Odd things that one archive can hold, each case in a directory of its own, and for each of the peers that read it wrongly, or not at
 * all, what it does instead. Entries that no correct archive has are not here: those are refused, and tests of their own say how.
 */
import type { OddCase } from "./odd-case.ts";
import { oldSparse } from "./sparse.ts";
import * as t from "./tar-writer.ts";

const GNU_SPARSE = {
  umoci: "It makes nothing of GNU's old sparse files (type S).",
  podman: "It makes nothing of GNU's old sparse files (type S).",
};

/** The directories on the way to a path. */
function parents(path: string): string[] {
  return path.split("/").slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join("/"));
}

/** A file of 100,000 bytes in all four forms, and one behind them. */
function sparse(at: (path: string) => string, map: (readonly [number, number])[], content: string): t.TarItem[] {
  const lines = `${map.length}\n${map.flat().join("\n")}\n`;
  const size: [string, string][] = [["GNU.sparse.size", "100000"], ["GNU.sparse.numblocks", String(map.length)]];
  return [
    ...oldSparse(map, 100_000, content, undefined, at("old")),
    t.file(at("0.0"), content, {
      pax: [
        ...size,
        ...map.flatMap((
          [o, l],
        ): [string, string][] => [["GNU.sparse.offset", `${o}`], ["GNU.sparse.numbytes", `${l}`]]),
      ],
    }),
    t.file(at("GNUSparseFile.0/0.1"), content, {
      pax: [...size, ["GNU.sparse.name", at("0.1")], ["GNU.sparse.map", map.flat().join(",")]],
    }),
    t.file(
      at("GNUSparseFile.0/1.0"),
      t.concat([t.bytesOf(lines), new Uint8Array(512 - lines.length), t.bytesOf(content)]),
      {
        pax: [
          ["GNU.sparse.major", "1"],
          ["GNU.sparse.minor", "0"],
          ["GNU.sparse.name", at("1.0")],
          ["GNU.sparse.realsize", "100000"],
        ],
      },
    ),
    t.file(at("next"), "n"),
  ];
}
/** Items of the first of them: header, content, padding. */
const SPARSE_OLD = 3;

export const ODD_ENTRIES: OddCase[] = [
  {
    name: "kinds",
    layers: (at) => [[
      t.directory(at(""), { mode: 0o751, uid: 3, gid: 4, mtime: 5 }),
      t.file(at("empty")),
      t.file(at("file"), "content", { uid: 1, gid: 2, mtime: 3 }),
      t.symlink(at("relative"), "file", { mtime: 4 }),
      t.symlink(at("absolute"), "/nowhere/at/all", { uid: 5, gid: 6 }),
      t.symlink(at("circle"), "circle"),
      t.fifo(at("fifo"), { mode: 0o622, uid: 7, mtime: 8 }),
      t.charDevice(at("char"), 1, 3, { mode: 0o666, mtime: 9 }),
      t.blockDevice(at("block"), 259, 70_000, { mode: 0o660, gid: 6 }),
      t.charDevice(at("largest"), 4095, 1_048_575),
      { ...t.file(at("v7"), "x"), typeflag: "\0", raw: { magic: new Uint8Array(8) }, format: "ustar" },
      { ...t.directory(at("v7-directory")), typeflag: "\0", raw: { magic: new Uint8Array(8) }, format: "ustar" },
    ]],
  },
  {
    name: "contiguous",
    layers: (at) => [[{ ...t.file(at("file"), "x"), typeflag: "7" }]],
    without: { umoci: "It makes nothing of type 7.", podman: "It makes nothing of type 7." },
  },
  {
    name: "numbers",
    layers: (at) => [[
      t.file(at("base256"), "x", { format: "gnu", base256: ["uid", "gid", "size", "mtime"], uid: 5, gid: 6, mtime: 7 }),
      t.file(at("large"), "x", { format: "gnu", uid: 4_000_000_000, gid: 2_097_152 }),
      t.file(at("pax-large"), "x", { uid: 4_000_000_000, gid: 2_097_152 }),
      t.file(at("spaces"), "x", { raw: { mode: "  644 \0", uid: "     5 \0", size: "         1 \0" } }),
      t.file(at("full"), "12345678", { raw: { mode: "00000644", size: "000000000010" } }),
      t.file(at("no-end"), "x", { raw: { uid: "17 ", gid: "0000021 " } }),
    ]],
  },
  {
    name: "leading-nul",
    layers: (at) => [[t.file(at("file"), "x", { raw: { size: "\x0000000000001", uid: "\x000000007" } })]],
    without: {
      model: "Python reads 0 where a number begins with NUL, and then content as headers.",
      tarfile: "Python reads 0 where a number begins with NUL, and then content as headers.",
    },
  },
  {
    name: "leading-nuls",
    layers: (at) => [[t.file(at("file"), "x", { raw: { uid: "\x00\x00000007" } })]],
    without: {
      model: "Python reads 0 where a number begins with NUL.",
      tarfile: "Python reads 0 where a number begins with NUL.",
      tar: "It skips one NUL, and reads 0 where two stand.",
    },
  },
  {
    name: "pax",
    layers: (at) => [[
      t.file(at("size"), "12345", { raw: { size: "00000000000\0" }, pax: [["size", "5"]] }),
      t.file(at("size-lies"), "12345", { raw: { size: "00000001000\0" }, pax: [["size", "5"]] }),
      t.file(at("ids"), "x", { uid: 1, gid: 2, pax: [["uid", "70000"], ["gid", "80000"]] }),
      t.file(at("wrong"), "x", { pax: [["path", at("right")]] }),
      t.symlink(at("link"), "wrong", { pax: [["linkpath", "right"]] }),
      t.file(at("twice"), "x", { pax: [["path", at("no")], ["path", at("yes")]] }),
      t.file(at("others"), "x", {
        pax: [["comment", "=\n="], ["atime", "1.5"], ["VENDOR.key", "v"], ["uname", "nobody"]],
      }),
    ]],
  },
  {
    name: "empty-pax",
    layers: (at) => [[
      t.file(at("deleted"), "x", { uid: 9, mtime: 8, pax: [["uid", "5"], ["uid", ""], ["mtime", "7"], ["mtime", ""]] }),
    ]],
    without: {
      model: "Python reads an empty record as the number 0.",
      tarfile: "Python reads an empty record as the number 0.",
      tar: "It takes an empty record for a broken one.",
    },
  },
  {
    name: "global",
    layers: (at) => [[
      t.globalHeader([["comment", "0123456789abcdef"], ["VENDOR.key", "v"]]),
      t.file(at("file"), "x", { mtime: 5 }),
    ]],
    without: { umoci: "It makes nothing of type g." },
  },
  {
    name: "long",
    layers: (at) => {
      const name = "n".repeat(255), deep = `${"directory/".repeat(30)}end`;
      return [[
        ...parents(deep).map((path) => t.directory(at(path))),
        ...parents(`gnu/${deep}`).map((path) => t.directory(at(path), { format: "gnu" })),
        t.directory(at("p".repeat(140))),
        t.file(at(name), "x"),
        t.file(at(`gnu/${name}`), "x", { format: "gnu" }),
        t.file(at(`gnu/${deep}`), "x", { format: "gnu" }),
        t.file(at(deep), "x"),
        t.symlink(at("link"), `../${"x".repeat(255)}/${"y".repeat(255)}`),
        t.symlink(at("gnu-link"), `../${"x".repeat(255)}/${"y".repeat(255)}`, { format: "gnu" }),
        t.hardlink(at("hard"), at(name)),
        t.hardlink(at(`gnu/${"h".repeat(200)}`), at(deep), { format: "gnu" }),
        t.file(at(`${"p".repeat(140)}/${"q".repeat(90)}`), "x", { format: "ustar" }),
        t.file(at("r".repeat(95 - at("").length)), "x", { format: "ustar" }),
      ]];
    },
  },
  {
    name: "names",
    layers: (at) => {
      const raw = (...bytes: number[]) => t.concat([t.bytesOf(at("")), Uint8Array.from(bytes)]);
      return [[
        t.file(raw(0x66, 0xff, 0xfe), "x", { format: "gnu" }),
        t.symlink(at("to-raw"), Uint8Array.of(0x66, 0xff, 0xfe), { format: "gnu" }),
        t.file(raw(0x65, 0xcc, 0x81), "decomposed"),
        t.file(raw(0xc3, 0xa9), "composed"),
        ...[" ", "two  spaces ", "-rf", "back\\slash", "new\nline", "\x1b[2J", "...", "..x", "'\"$`", "%41", "A", "a"]
          .map((name) => t.file(at(name), name)),
        t.file(`./${at("dot")}`, "x"),
        t.directory(at("slashes")),
        t.directory(at("slashes/and")),
        t.file(at("slashes//and/./dots"), "x"),
        t.file(`/${at("absolute")}`, "x"),
      ]];
    },
    without: { tarfile: "It writes where an absolute name says." },
  },
  {
    name: "sparse",
    layers: (at) => {
      const content = "1".repeat(1024) + "2".repeat(512) + "3".repeat(5);
      return [[...sparse(at, [[512, 1024], [50_176, 512], [99_328, 5], [100_000, 0]], content)]];
    },
    without: GNU_SPARSE,
  },
  {
    name: "sparse-unaligned",
    layers: (at) => [[...sparse(at, [[511, 600], [99_000, 5], [100_000, 0]], "1".repeat(600) + "2".repeat(5))]],
    without: {
      ...GNU_SPARSE,
      tar: "It begins a new block for each piece, which only its own maps, of whole blocks, have.",
    },
  },
  {
    name: "sparse-many",
    layers: (at) => {
      // GNU tar gives a file the size that its last piece ends with.
      const many = Array.from({ length: 61 }, (_, i) => [i * 4096, i < 60 ? 512 : 0] as const);
      return [[
        ...oldSparse(many, 60 * 4096, "ab".repeat(60 * 256), undefined, at("many")),
        ...oldSparse([[5000, 0]], 5000, "", undefined, at("hole")),
        t.file(at("next"), "n"),
      ]];
    },
    without: GNU_SPARSE,
  },
  {
    name: "sparse-pax",
    layers: (
      at,
    ) => [[
      ...sparse(at, [[512, 1024], [99_328, 5], [100_000, 0]], "1".repeat(1024) + "3".repeat(5)).slice(SPARSE_OLD),
    ]],
  },
  {
    name: "hardlinks",
    layers: (at) => [[
      t.file(at("file"), "x", { mode: 0o600, uid: 5, mtime: 6 }),
      t.hardlink(at("second"), at("file"), { mode: 0o600, uid: 5, mtime: 6 }),
      t.hardlink(at("third"), at("second"), { mode: 0o600, uid: 5, mtime: 6 }),
      t.fifo(at("fifo"), { mode: 0o600 }),
      t.hardlink(at("fifo2"), at("fifo"), { mode: 0o600 }),
    ]],
  },
  {
    name: "hardlinks-to-links",
    layers: (at) => [[t.symlink(at("link"), "nowhere"), t.hardlink(at("link2"), at("link"), { mode: 0o777 })]],
    without: { tarfile: "It makes a second link where the first leads nowhere." },
  },
  {
    name: "hardlink-attributes",
    layers: (at) => [[
      t.file(at("file"), "x", { mode: 0o600, uid: 5, mtime: 6 }),
      t.hardlink(at("second"), at("file"), { mode: 0o755, uid: 7, mtime: 8 }),
    ]],
    without: {
      podman: "It gives the file what the link's entry says.",
      tarfile: "It gives the file what the link's entry says.",
    },
  },
  {
    name: "hardlink-sizes",
    layers: (at) => [[
      t.file(at("file"), "content"),
      t.hardlink(at("sized"), at("file"), { claimedSize: 7 }),
      t.file(at("behind"), "x"),
    ]],
  },
  {
    name: "hardlink-to-itself",
    layers: (at) => [[t.file(at("file"), "x"), t.hardlink(at("file"), at("file"))]],
    without: {
      umoci: "It removes the file, and finds no target then.",
      podman: "Its tar-split refuses a second entry of one name.",
    },
  },
  {
    name: "forward-hardlinks",
    layers: (at) => [[t.hardlink(at("c"), at("b")), t.hardlink(at("b"), at("a")), t.file(at("a"), "x")]],
    without: {
      umoci: "It makes a link when its entry comes.",
      podman: "It makes a link when its entry comes.",
      tar: "It makes a link when its entry comes.",
      tarfile: "It makes a link when its entry comes.",
    },
  },
  {
    name: "doubles",
    layers: (at) => [[
      t.file(at("file"), "old", { mode: 0o600 }),
      t.file(at("file"), "new", { mode: 0o644, uid: 1 }),
      t.directory(at("d"), { mode: 0o700, mtime: 1 }),
      t.file(at("d/kept"), "x"),
      t.directory(at("d"), { mode: 0o755, mtime: 2 }),
      t.symlink(at("link"), "old"),
      t.symlink(at("link"), "new"),
      t.file(at("linked"), "one"),
      t.hardlink(at("other"), at("linked")),
      t.file(at("linked"), "two"),
    ]],
    without: {
      podman: "Its tar-split refuses a second entry of one name.",
      tarfile: "It writes into a file that has other names.",
    },
  },
  {
    name: "through-links",
    layers: (at) => [[
      t.directory(at("real")),
      t.symlink(at("relative"), "real"),
      t.symlink(at("absolute"), `/${at("real")}`),
      t.symlink(at("up"), `../../../../${at("real")}`),
      t.file(at("relative/1"), "1"),
      t.file(at("absolute/2"), "2"),
      t.file(at("up/3"), "3"),
      t.hardlink(at("relative/4"), at("absolute/2")),
    ]],
    without: {
      tar: "Absolute links lead out of the directory that it extracts to; it makes them last.",
      tarfile: "Absolute links lead out of the directory that it extracts to.",
    },
  },
];
