import assert from "node:assert/strict";
import { entryOf, readEntries, readTar } from "../lab/tar-events.ts";
import * as t from "../lab/tar-writer.ts";

const LONG = `${"directory-with-a-long-name/".repeat(8)}file`;
const LONGER = `${"directory-with-a-long-name/".repeat(40)}file`;

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

Deno.test("every kind of entry a layer can hold is read with all that its header says", () => {
  const archive = t.tar([
    t.directory("d", { mode: 0o1777, mtime: 5 }),
    t.file("d/f", "content", { mode: 0o4755, uid: 12, gid: 34, mtime: 1_700_000_000 }),
    t.hardlink("d/h", "d/f"),
    t.symlink("d/s", "../f", { uid: 7 }),
    t.charDevice("null", 1, 3, { mode: 0o666 }),
    t.blockDevice("disk", 259, 70_000),
    t.fifo("pipe", { mode: 0o600 }),
    { ...t.file("contiguous", "c"), typeflag: "7" },
    { ...t.file("old", "o"), typeflag: "\0" },
    { ...t.directory("old-directory"), typeflag: "\0" },
  ]);
  assert.deepEqual(readTar(archive), {
    endedWithoutMark: false,
    entries: [
      entryOf({ type: "directory", name: "d/", mode: 0o1777, mtime: { seconds: 5, nanoseconds: 0 } }),
      entryOf({
        name: "d/f",
        mode: 0o4755,
        uid: 12,
        gid: 34,
        size: 7,
        mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
        pieces: [[0, "content"]],
      }),
      entryOf({ type: "hardlink", name: "d/h", linkName: "d/f" }),
      entryOf({ type: "symlink", name: "d/s", linkName: "../f", mode: 0o777, uid: 7 }),
      entryOf({ type: "character", name: "null", mode: 0o666, major: 1, minor: 3 }),
      entryOf({ type: "block", name: "disk", mode: 0o600, major: 259, minor: 70_000 }),
      entryOf({ type: "fifo", name: "pipe", mode: 0o600 }),
      entryOf({ name: "contiguous", size: 1, pieces: [[0, "c"]] }),
      entryOf({ name: "old", size: 1, pieces: [[0, "o"]] }),
      entryOf({ type: "directory", name: "old-directory/", mode: 0o755 }),
    ],
  });
});

Deno.test("content of every length around a block's is read whole", () => {
  for (const length of [0, 1, 511, 512, 513, 1023, 1024, 1025, 70_000]) {
    const text = "abcdefghij".repeat(length / 10 + 1).slice(0, length);
    assert.deepEqual(readEntries(t.tar([t.file("a", text), t.file("b", "b")])), [
      entryOf({ name: "a", size: length, pieces: length === 0 ? [] : [[0, text]] }),
      entryOf({ name: "b", size: 1, pieces: [[0, "b"]] }),
    ]);
  }
});

Deno.test("names are bytes: not UTF-8, a full header field without a NUL, a prefix", () => {
  const raw = bytes("b\xff\xfe");
  const names = readEntries(t.tar([
    t.file(raw),
    t.file(raw, "", { format: "gnu" }),
    t.file("n".repeat(100), "", { format: "ustar" }),
    t.file(LONG, "", { format: "ustar" }),
    t.symlink("s", "t".repeat(100), { format: "ustar" }),
  ]));
  assert.deepEqual(names.map(({ name, linkName }) => [name, linkName]), [
    ["b\xff\xfe", ""],
    ["b\xff\xfe", ""],
    ["n".repeat(100), ""],
    [LONG, ""],
    ["s", "t".repeat(100)],
  ]);
});

Deno.test("GNU's header has times where ustar has a prefix: they are no part of the name", () => {
  const tail = new Uint8Array(167).fill(0x31);
  const [entry] = readEntries(t.tar([t.file("a", "", { format: "gnu", raw: { tail } })]));
  assert.equal(entry?.name, "a");
});

Deno.test("what stands in a GNU header where no time can be is a prefix, as Go before 1.8 wrote it; the version behind POSIX's magic is not read", () => {
  const name = (tail: string, magic = "ustar  \0", typeflag = "0") => {
    const { name } = readEntries(t.tar([{ ...t.file("f", "", { raw: { magic, tail } }), typeflag }]))[0] ?? {};
    return name;
  };
  assert.equal(name("long/path"), "long/path/f");
  assert.equal(name(`14000000000\x00${"14000000000\0"}`), "f");
  assert.equal(name(`\0\0\0\0\0\0\0\0\0\0\0\x00no time`), "f"); // empty in front: nothing a reader would call a prefix
  assert.equal(name("no time \xe9"), "f"); // not ASCII
  assert.equal(name("prefix", "ustar\x00??"), "prefix/f");
});

Deno.test("long names and targets come from pax records, and from GNU's L and K entries", () => {
  for (const format of ["pax", "gnu"] as const) {
    const entries = readEntries(t.tar([
      t.file(LONGER, "x", { format }),
      t.symlink(LONGER, `${LONGER}-target`, { format }),
      t.hardlink("short", LONGER, { format }),
      t.file("after", "", { format }),
    ]));
    assert.deepEqual(entries.map(({ name, linkName }) => [name, linkName]), [
      [LONGER, ""],
      [LONGER, `${LONGER}-target`],
      ["short", LONGER],
      ["after", ""],
    ]);
  }
});

Deno.test("a name's end in an L entry is its first NUL, or the entry's end", () => {
  const longLink = (content: string) => ({ name: "././@LongLink", typeflag: "L", content, format: "gnu" as const });
  const names = ["one\0rest", "two", "three\0"].flatMap((text) =>
    readEntries(t.tar([longLink(text), t.file("short", "", { format: "gnu" })])).map(({ name }) => name)
  );
  assert.deepEqual(names, ["one", "two", "three"]);
});

Deno.test("the pax size wins over the header's, also over 0: content is never read as headers", () => {
  const inner = t.tar([t.file("smuggled", "evil")], { endBlocks: 0 });
  const entries = readEntries(t.tar([
    t.file("outer", inner, { claimedSize: 0, pax: [["size", String(inner.length)]] }),
    t.file("next", "n"),
  ]));
  assert.deepEqual(entries.map(({ name, size }) => [name, size]), [["outer", inner.length], ["next", 1]]);
});

Deno.test("what carries no content has none, whatever its size says", () => {
  const entries = readEntries(t.tar([
    t.hardlink("h", "f", { claimedSize: 7 }),
    t.symlink("s", "f", { claimedSize: 7 }),
    t.directory("d", { claimedSize: 4096 }),
    t.charDevice("c", 1, 1, { claimedSize: 512 }),
    t.fifo("p", { pax: [["size", "1024"]] }),
    t.file("f", "content"),
  ]));
  assert.deepEqual(entries.map(({ name, size }) => [name, size]), [
    ["h", 0],
    ["s", 0],
    ["d/", 0],
    ["c", 0],
    ["p", 0],
    ["f", 7],
  ]);
});

Deno.test("pax records give owners, times and attributes; values may hold '=', newlines, NULs and any byte", () => {
  const value = bytes("a=b\n12 c=d\n\0\xff");
  const [entry] = readEntries(t.tar([
    t.file("f", "", {
      uid: 3_000_000,
      gid: 2 ** 32 - 2,
      mtime: "1700000000.123456789",
      xattrs: { "user.binary": value, "security.capability": bytes("\x01\0\0\x02") },
      pax: [["comment", "x"], ["VENDOR.key", "y"], ["path", "g"]],
    }),
  ]));
  assert.deepEqual(
    entry,
    entryOf({
      name: "g",
      uid: 3_000_000,
      gid: 2 ** 32 - 2,
      mtime: { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
      xattrs: new Map([["user.binary", value], ["security.capability", bytes("\x01\0\0\x02")]]),
    }),
  );
});

Deno.test("an empty pax value takes the record back: of the same header, and of a global one", () => {
  const [first, second] = readEntries(t.tar([
    t.globalHeader([["uid", "77"], ["mtime", "9"], ["SCHILY.xattr.user.g", "global"]]),
    t.file("a", "", {
      uid: 5,
      pax: [["path", "x"], ["path", ""], ["uid", ""], ["mtime", ""], ["SCHILY.xattr.user.g", ""], [
        "SCHILY.xattr.user.own",
        "1",
      ], ["SCHILY.xattr.user.own", ""]],
    }),
    t.file("b"),
  ]));
  assert.deepEqual(first, entryOf({ name: "a", uid: 5 }));
  assert.deepEqual(
    second,
    entryOf({
      name: "b",
      uid: 77,
      mtime: { seconds: 9, nanoseconds: 0 },
      xattrs: new Map([["user.g", bytes("global")]]),
    }),
  );
});

Deno.test("global headers hold for all entries behind them, except where they would make all files one", () => {
  const entries = readEntries(t.tar([
    t.globalHeader([["gid", "5"], ["comment", "c0ffee"], ["path", "same"], ["size", "1"], ["linkpath", "l"]]),
    t.file("a", "aa"),
    t.globalHeader([["gid", "6"]]),
    t.symlink("b", "target"),
    t.file("c", "", { pax: [["gid", "7"]] }),
  ]));
  assert.deepEqual(entries, [
    entryOf({ name: "a", gid: 5, size: 2, pieces: [[0, "aa"]] }),
    entryOf({ type: "symlink", name: "b", linkName: "target", mode: 0o777, gid: 6 }),
    entryOf({ name: "c", gid: 7 }),
  ]);
});

Deno.test("libarchive's attributes are decoded, and SCHILY's have the last word", () => {
  const [entry] = readEntries(t.tar([
    t.file("f", "", {
      pax: [
        ["LIBARCHIVE.xattr.user.a%20b%3D", "aGVsbG8="],
        ["LIBARCHIVE.xattr.user.bare", "aGk"], // libarchive leaves the padding away
        ["LIBARCHIVE.xattr.user.both", "bm8="],
        ["SCHILY.xattr.user.both", "yes"],
      ],
    }),
  ]));
  assert.deepEqual(
    [...entry?.xattrs ?? []].sort(),
    [
      ["user.a b=", bytes("hello")],
      ["user.bare", bytes("hi")],
      ["user.both", bytes("yes")],
    ],
  );
});

Deno.test("numbers are octal with spaces and NULs around, or base-256, negative too", () => {
  const raw = (field: t.HeaderField, text: string) => t.file("f", "12345678", { raw: { [field]: text } });
  const size = (text: string) => readEntries(t.tar([raw("size", text)])).map((entry) => entry.size)[0];
  assert.deepEqual(
    ["00000000010\0", "      10    ", "10 \0", " 10\0junk", "\x0010\0", "\0\0 10\0"].map(size),
    Array(6).fill(8),
  );
  const [big, old] = readEntries(t.tar([
    t.file("big", "", { format: "gnu", uid: 2 ** 31, gid: 2 ** 32 - 2, base256: ["uid", "gid", "size"] }),
    t.file("old", "", { format: "gnu", mtime: -3, base256: ["mtime"] }),
  ]));
  assert.deepEqual([big?.uid, big?.gid, old?.mtime], [2 ** 31, 2 ** 32 - 2, { seconds: -3, nanoseconds: 0 }]);
  const [blank] = readEntries(t.tar([t.file("blank", "", { raw: { uid: "\0".repeat(8), mtime: " ".repeat(12) } })]));
  assert.deepEqual([blank?.uid, blank?.mtime.seconds], [0, 0]);
});

Deno.test("times have fractions and may lie before 1970; what is below a nanosecond is cut downwards", () => {
  const time = (text: string) => readEntries(t.tar([t.file("f", "", { pax: [["mtime", text]] })]))[0]?.mtime;
  const cases: [string, number, number][] = [
    ["0", 0, 0],
    ["1.5", 1, 500_000_000],
    ["1.", 1, 0],
    ["1.0000000019", 1, 1],
    ["-1", -1, 0],
    ["-1.25", -2, 750_000_000],
    ["-0.000000001", -1, 999_999_999],
    ["253402300799.999999999", 253402300799, 999_999_999],
  ];
  for (const [text, seconds, nanoseconds] of cases) assert.deepEqual(time(text), { seconds, nanoseconds }, text);
});

Deno.test("a checksum summed over signed bytes is right as well", () => {
  const archive = t.tar([t.file(bytes("caf\xe9\xff"), "x", { raw: { gname: bytes("\xfe\xfe") } })]);
  const header = archive.subarray(0, 512);
  let sum = 0;
  for (const [i, byte] of header.entries()) sum += i >= 148 && i < 156 ? 32 : byte < 128 ? byte : byte - 256;
  header.set(bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  assert.deepEqual(readEntries(archive).map(({ name }) => name), ["caf\xe9\xff"]);
});

Deno.test("an archive without its end is read, and the reader says so", () => {
  const items = [t.file("a", "x")];
  assert.equal(readTar(t.tar(items)).endedWithoutMark, false);
  assert.equal(readTar(t.tar(items, { endBlocks: 0 })).endedWithoutMark, true);
  assert.equal(readTar(t.tar(items, { endBlocks: 1 })).endedWithoutMark, true);
  assert.equal(readTar(new Uint8Array(0)).endedWithoutMark, true);
  assert.deepEqual(readTar(new Uint8Array(1024)), { entries: [], endedWithoutMark: false });
});

Deno.test("the last entry's padding may be missing, in part or whole", () => {
  const whole = t.tar([t.file("a", "xyz")], { endBlocks: 0 });
  for (const length of [515, 516, 1023]) {
    const { entries, endedWithoutMark } = readTar(whole.subarray(0, length));
    assert.deepEqual([entries, endedWithoutMark], [[entryOf({ name: "a", size: 3, pieces: [[0, "xyz"]] })], true]);
  }
});

Deno.test("bytes behind the end mean nothing, even where they look like entries", () => {
  const trailing = t.tar([t.file("hidden", "h")]);
  const names = readEntries(t.tar([t.file("a")], { trailing })).map(({ name }) => name);
  assert.deepEqual(names, ["a"]);
  assert.deepEqual(readEntries(t.tar([t.file("a")], { trailing: "junk" })).length, 1);
});
