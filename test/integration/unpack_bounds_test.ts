/** What a layer can make the program remember, and how long it can go on: bounded, whatever it holds. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Digest } from "../../lib/base/digest.ts";
import { crc32 } from "../../lib/system/codecs.ts";
import { ContentSums } from "../../lib/system/content-sums.ts";
import { AccessLists } from "../../lib/unpack/access-lists.ts";
import { applyLayer } from "../../lib/unpack/apply-layer.ts";
import { DeferredLinks } from "../../lib/unpack/deferred-links.ts";
import { Directories } from "../../lib/unpack/directories.ts";
import { INLINE_DECODER } from "../../lib/unpack/decoder.ts";
import { LayerMarks } from "../../lib/unpack/layer-marks.ts";
import { TreeWriter } from "../../lib/unpack/tree-writer.ts";
import { fails, rejects } from "../lab/expect.ts";
import { entryOf } from "../lab/tar-events.ts";
import * as t from "../lab/tar-writer.ts";
import { unpack, withTree } from "../lab/unpacked.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** A thousand entries: those of each kind that leave something to remember, on names that come again. */
function thousand(): Uint8Array {
  const of = (count: number, make: (i: number) => t.TarItem) => Array.from({ length: count }, (_, i) => make(i));
  return t.tar([
    ...of(100, (i) => t.directory(`d/${i}`, { mtime: i })),
    ...of(100, (i) => t.hardlink(`link${i}`, "file")),
    ...of(50, (i) => t.file(`f${i}`, "content")),
    ...of(50, (i) => t.symlink(`s${i}`, "target")),
    ...of(350, (i) => t.whiteout(`d/nothing${i}`)),
    ...of(350, (i) => t.opaque(`nothing${i}`)),
  ], { endBlocks: 0 });
}

Deno.test("300,000 entries take no more memory than 30,000", async () => {
  const chunk = thousand(), end = new Uint8Array(1024), repeats = 300;
  const hash = createHash("sha256");
  for (let i = 0; i < repeats; i++) hash.update(chunk);
  const diffId = `sha256:${hash.update(end).digest("hex")}` as Digest;
  const heap: number[] = [];
  const bytes = async function* () {
    for (let i = 0; i < repeats; i++) {
      yield await Promise.resolve(chunk);
      if (i !== 30 && i !== repeats - 1) continue;
      collectGarbage();
      heap.push(Deno.memoryUsage().heapUsed);
    }
    yield end;
  };
  await withTree(async ({ kernel, fd }) => {
    const writer = new TreeWriter(kernel, fd, {
      sums: new ContentSums(await crc32()),
      reserve: () => {},
      warn: () => {},
    });
    try {
      const lower = t.tar([t.file("file", "x")]);
      const first = `sha256:${createHash("sha256").update(lower).digest("hex")}` as Digest;
      await applyLayer(
        { index: 0, name: "layer 1", diffId: first, bytes: one(lower) },
        writer,
        INLINE_DECODER,
        () => {},
      );
      await applyLayer({ index: 1, name: "layer 2", diffId, bytes: bytes() }, writer, INLINE_DECODER, () => {});
      writer.finish();
    } finally {
      writer.close();
    }
    assert.equal(writer.entries, 1 + 1000 * repeats);
  });
  const [early = 0, late = 0] = heap;
  assert.equal(heap.length, 2);
  assert.ok(late - early < 4 << 20, `${(late - early) >> 10} KiB more`);
});

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

Deno.test("a layer of too many entries is refused, and entries of all layers count together", async () => {
  const layers = [t.tar([t.file("a"), t.file("b")]), t.tar([t.whiteout("a"), t.whiteout("x"), t.file("c")])];
  await unpack(layers, ({ entries }) => assert.equal(entries, 5), { maxEntries: 5 });
  await rejects(
    () => unpack(layers, () => {}, { maxEntries: 4 }),
    "BROKEN_LAYER",
    "Cannot unpack the layer: it has more than 4 entries.",
  );
});

Deno.test("five million entries are as many as any image may have", async () => {
  await withTree(async ({ kernel, fd }) => {
    const writer = new TreeWriter(kernel, fd, {
      sums: new ContentSums(await crc32()),
      reserve: () => {},
      warn: () => {},
    });
    const entry = entryOf({ name: ".wh..wh.aufs" });
    for (let i = 0; i < 5_000_000; i++) writer.entry(entry);
    fails(() => writer.entry(entry), "BROKEN_LAYER", "Cannot unpack the layer: it has more than 5000000 entries.");
    writer.close();
  });
});

/** Calls until it is refused; how often. */
function until(most: number, why: string, add: (i: number) => void): void {
  fails(
    () => {
      for (let i = 0; i < most; i++) add(i);
    },
    "BROKEN_LAYER",
    `Cannot unpack the layer: ${why}.`,
  );
}

Deno.test("names that are kept until a layer's or the image's end are bounded by their length", () => {
  const long = (i: number) => `${"n".repeat(200)}/${i}`.padEnd(4000, "x");
  const deferred = new DeferredLinks();
  until(20_000, "it has too many hardlinks that stand before their target", (i) => deferred.add(long(i), "target"));
  const marks = new LayerMarks();
  marks.startLayer(1);
  until(20_000, "it has too many hardlinks to files of the layers below", (i) => marks.addLink(1, long(i), 5));
  const directories = new Directories();
  const time = { seconds: 0, nanoseconds: 0 };
  until(40_000, "its directories have too many long names", (i) => directories.remember(i, { path: long(i), time }));
  const lists = new AccessLists(() => {});
  const named = [{
    xattr: "system.posix_acl_access",
    entries: [{ tag: "user", who: "lisa", permissions: 7 }],
  }] as const;
  until(
    20_000,
    "it has too many lists of access rights",
    (i) => lists.wait(long(i), i, named.map((list) => ({ ...list, entries: [...list.entries] }))),
  );
});

Deno.test("what is said again, or gone, counts but once, or not any more", () => {
  const marks = new LayerMarks(), directories = new Directories(), name = "n".repeat(4000);
  marks.startLayer(1);
  for (let i = 0; i < 40_000; i++) {
    marks.addLink(1, name, 5);
    directories.remember(5, { path: name, time: { seconds: 0, nanoseconds: 0 } });
    directories.forget(5);
  }
  assert.ok(marks.isOwn(1, name, 5) && !marks.isOwn(2, name, 5));
});
