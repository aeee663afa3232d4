import assert from "node:assert/strict";
import { entryOf, readEntries, readInPieces, readTar } from "../lab/tar-events.ts";
import { octal, oldSparse } from "../lab/sparse.ts";
import * as t from "../lab/tar-writer.ts";
import { thrownBy } from "../lab/expect.ts";

const ONE = "1".repeat(600), TWO = "2".repeat(5);
const REAL = 1_000_000;
const EXPECTED = entryOf({
  name: "sparse",
  size: REAL,
  sparse: true,
  pieces: [[512, ONE], [999_000, TWO]],
});
const NEXT = entryOf({ name: "next", size: 1, pieces: [[0, "n"]] });
const MAP = [[512, 600], [999_000, 5], [REAL, 0]] as const;

Deno.test("sparse files in pax form 0.0: repeated offset and numbytes", () => {
  const pax = MAP.flatMap(([o, l]): [string, string][] => [
    ["GNU.sparse.offset", String(o)],
    ["GNU.sparse.numbytes", String(l)],
  ]);
  const archive = t.tar([
    t.file("sparse", ONE + TWO, { pax: [["GNU.sparse.size", String(REAL)], ["GNU.sparse.numblocks", "3"], ...pax] }),
    t.file("next", "n"),
  ]);
  assert.deepEqual(readEntries(archive), [EXPECTED, NEXT]);
});

Deno.test("sparse files in pax form 0.1: one map, and the name in a record of its own", () => {
  const archive = t.tar([
    t.file("GNUSparseFile.0/sparse", ONE + TWO, {
      pax: [
        ["GNU.sparse.size", String(REAL)],
        ["GNU.sparse.name", "sparse"],
        ["GNU.sparse.map", MAP.flat().join(",")],
      ],
    }),
    t.file("next", "n"),
  ]);
  assert.deepEqual(readEntries(archive), [EXPECTED, NEXT]);
});

/** Form 1.0: the map stands before the content, padded to a block. */
function newSparse(map: string, content: string, real: number | undefined = REAL): t.TarEntry {
  const padded = map + "\0".repeat((512 - map.length % 512) % 512);
  return t.file("GNUSparseFile.0/sparse", padded + content, {
    pax: [
      ["GNU.sparse.major", "1"],
      ["GNU.sparse.minor", "0"],
      ["GNU.sparse.name", "sparse"],
      ...(real === undefined ? [] : [["GNU.sparse.realsize", String(real)] as [string, string]]),
    ],
  });
}

Deno.test("sparse files in pax form 1.0: the map before the content, of one block and of many", () => {
  const lines = (map: readonly (readonly [number, number])[]) => [map.length, ...map.flat()].join("\n") + "\n";
  assert.deepEqual(readEntries(t.tar([newSparse(lines(MAP), ONE + TWO), t.file("next", "n")])), [EXPECTED, NEXT]);
  const many = Array.from({ length: 300 }, (_, i) => [i * 1000, 2] as const);
  const [entry] = readEntries(t.tar([newSparse(lines(many), "ab".repeat(300)), t.file("next", "n")]));
  assert.deepEqual(entry?.pieces, many.map(([offset]) => [offset, "ab"]));
});

Deno.test("sparse files in GNU's old form: four pieces in the header, and blocks of 21 more", () => {
  assert.deepEqual(readEntries(t.tar([...oldSparse(MAP, REAL, ONE + TWO), t.file("next", "n")])), [EXPECTED, NEXT]);
  for (const count of [4, 5, 25, 26, 60]) {
    const map = Array.from({ length: count }, (_, i) => [i * 1000, 2] as const);
    const archive = t.tar([...oldSparse(map, count * 1000, "ab".repeat(count)), t.file("next", "n")]);
    const [entry, next] = readEntries(archive);
    assert.deepEqual([entry?.pieces, entry?.size, next], [map.map(([at]) => [at, "ab"]), count * 1000, NEXT]);
  }
});

Deno.test("a file that is nothing but a hole has its size and no content", () => {
  const hole = entryOf({ name: "sparse", size: REAL, sparse: true });
  assert.deepEqual(readEntries(t.tar(oldSparse([[REAL, 0]], REAL, ""))), [hole]);
  assert.deepEqual(readEntries(t.tar([newSparse(`1\n${REAL}\n0\n`, "")])), [hole]);
  assert.deepEqual(readEntries(t.tar([newSparse("0\n", "")])), [hole]);
});

Deno.test("GNU tar's own sparse files are read as they were, in each of its four forms", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    using file = Deno.openSync(`${directory}/sparse`, { createNew: true, write: true });
    file.truncateSync(3_000_000);
    for (let i = 0; i < 30; i++) {
      file.seekSync(i * 98_304, Deno.SeekMode.Start);
      file.writeSync(new Uint8Array(4096).fill(65 + i % 26));
    }
    const expected = Deno.readFileSync(`${directory}/sparse`);
    for (const form of ["--format=gnu", ...["0.0", "0.1", "1.0"].map((v) => `--format=pax --sparse-version=${v}`)]) {
      const args = ["-C", directory, "--sparse", ...form.split(" "), "-cf", "-", "sparse"];
      const { stdout, success } = await new Deno.Command("tar", { args }).output();
      assert.ok(success);
      const [entry] = readInPieces(stdout, 10_240).entries;
      assert.equal(entry?.sparse, true, form);
      const found = new Uint8Array(entry.size);
      for (const [at, text] of entry.pieces) found.set(Uint8Array.from(text, (c) => c.charCodeAt(0)), at);
      assert.deepEqual(found, expected, form);
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("maps that overlap, lead backwards, behind the end, or do not fit their data are refused", () => {
  const overlap = "has a sparse map that overlaps or leads behind its end";
  const map = (text: string, content: string, real = "100") =>
    t.file("sparse", content, { pax: [["GNU.sparse.size", real], ["GNU.sparse.map", text]] });
  const cases: [t.TarItem[], string][] = [
    [[map("0,5,4,5", "x".repeat(10))], `"sparse" ${overlap}`],
    [[map("50,5,0,5", "x".repeat(10))], `"sparse" ${overlap}`],
    [[map("96,5", "x".repeat(5))], `"sparse" ${overlap}`],
    [[map("9007199254740990,9007199254740990", "x")], `"sparse" ${overlap}`],
    [[map("0,5", "x".repeat(6))], '"sparse" has a sparse map of 5 bytes and data of 6'],
    [[map("0,5,10", "x".repeat(5))], '"sparse" has an incomplete sparse map'],
    [[map("0,-5", "")], 'GNU.sparse.map is "-5", which is no number'],
    [[map("0,0x5", "")], 'GNU.sparse.map is "0x5", which is no number'],
    [[map("0,5", "x".repeat(5), "99999999999999999")], 'GNU.sparse.size is "99999999999999999", which is no number'],
    [[t.file("sparse", "x", { pax: [["GNU.sparse.map", "0,1"]] })], '"sparse" is sparse and has no size'],
    [
      [t.file("sparse", "x", { pax: [["GNU.sparse.offset", "0"], ["GNU.sparse.numbytes", "1"]] })],
      '"sparse" is sparse and has no size',
    ],
    [
      [newSparse("0\n", "", undefined)].map((entry) => ({ ...entry, pax: entry.pax?.slice(0, 3) })),
      '"sparse" is sparse and has no size',
    ],
    [
      [t.file("sparse", "x", {
        pax: [["GNU.sparse.size", "5"], ["GNU.sparse.numbytes", "1"], ["GNU.sparse.offset", "0"]],
      })],
      "a sparse file's offsets and lengths do not alternate",
    ],
    [[newSparse("1\n0\n", "")], "the map of a sparse file is no list of numbers"],
    [[newSparse(`200\n${"9\n".repeat(254)}`, "")], "the map of a sparse file is longer than its data"],
    [[newSparse("x\n", "")], 'sparse map is "x", which is no number'],
    [[newSparse("1".repeat(40), "")], "the map of a sparse file is no list of numbers"],
    [[newSparse("65537\n", "")], "a sparse file has too many pieces"],
    [[newSparse("1\n0\n5\n", "x".repeat(6))], '"sparse" has a sparse map of 5 bytes and data of 6'],
    [oldSparse([[0, 5], [4, 5]], 100, "x".repeat(10)), `"sparse" ${overlap}`],
    [oldSparse([[0, 5]], 4, "x".repeat(5)), `"sparse" ${overlap}`],
    [
      oldSparse([], 0, "", (tail) => {
        tail.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb], 483 - 345);
        return tail;
      }),
      '"sparse" has the impossible size -5',
    ],
    [
      [{ ...t.file("sparse", ""), typeflag: "S" }],
      '"sparse" is sparse in a way that its header\'s format does not have',
    ],
  ];
  for (const [items, why] of cases) {
    assert.deepEqual(thrownBy(() => readTar(t.tar(items))), {
      code: "BROKEN_LAYER",
      message: `Cannot read the layer as a tar archive: ${why}.`,
    });
  }
});

Deno.test("a map without end is refused before it fills the memory", () => {
  const block = new Uint8Array(512);
  block.set(t.bytesOf((octal(0) + octal(0)).repeat(21)));
  block[504] = 1;
  const [head = new Uint8Array(0)] = oldSparse(Array(5).fill([0, 0]), 0, "");
  const parts = [head as Uint8Array, ...Array<Uint8Array>(65536 / 21 + 2 | 0).fill(block)];
  assert.deepEqual(thrownBy(() => readInPieces(t.concat(parts), 0)), {
    code: "BROKEN_LAYER",
    message: "Cannot read the layer as a tar archive: a sparse file has too many pieces.",
  });
});

Deno.test("the name of a sparse file counts only for a sparse file", () => {
  const names = readEntries(t.tar([
    t.file("real", "", { pax: [["GNU.sparse.name", "other"]] }),
    t.directory("dir", { pax: [["GNU.sparse.name", "other"]] }),
  ])).map(({ name }) => name);
  assert.deepEqual(names, ["real", "dir/"]);
});
