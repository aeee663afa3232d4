/** From compressed bytes to files: every compression, damage at every place, and whose fault is told. */
import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Digest } from "../../lib/base/digest.ts";
import { verified } from "../../lib/oci/verified.ts";
import type { Descriptor } from "../../lib/formats/manifest.ts";
import { applyLayer } from "../../lib/unpack/apply-layer.ts";
import { secondThread } from "../../lib/operations/second-thread.ts";
import { Thread } from "../../lib/system/thread.ts";
import { INLINE_DECODER, type LayerDecoder } from "../../lib/unpack/decoder.ts";
import { DecoderThread } from "../../lib/unpack/decoder-thread.ts";
import { decompress } from "../../lib/unpack/decompress.ts";
import type { TreeWriter } from "../../lib/unpack/tree-writer.ts";
import { collect, rejectionOf, rejects } from "../lab/expect.ts";
import { compress, type Compression, sha256 } from "../lab/oci-layout.ts";
import { Random } from "../lab/random.ts";
import { outline, pieces, unpack, unpackBothWays } from "../lab/unpacked.ts";
import * as t from "../lab/tar-writer.ts";

const ALL: Compression[] = ["none", "gzip", "gzip-members", "zstd", "zstd-frames"];
const NOISE = (() => {
  const random = new Random(7);
  return Uint8Array.from({ length: 3 << 20 }, () => random.next(256));
})();
const ARCHIVE = t.tar([t.file("a", "x".repeat(3 << 20)), t.file("b", NOISE)]);

/** A writer that writes nowhere: what is tested stands before it. */
const NOWHERE = {
  startLayer() {},
  endLayer() {},
  entry() {},
  data() {},
  entryEnd() {},
} as unknown as TreeWriter;

let decoder: LayerDecoder = INLINE_DECODER;
const second = new Thread(secondThread()), onThread = new DecoderThread(second);
addEventListener("unload", () => second[Symbol.dispose]());

/** The same with the decoder on this thread, and on one of its own. */
function testBoth(name: string, run: () => Promise<void>): void {
  Deno.test(name, run);
  Deno.test(`${name}, on a thread of its own`, async () => {
    decoder = onThread;
    try {
      await run();
    } finally {
      decoder = INLINE_DECODER;
    }
  });
}

interface Layer {
  bytes: Uint8Array;
  /** What the manifest says; by default the truth. */
  digest?: string;
  diffId?: string;
  piece?: number;
  turns?: boolean;
  size?: number;
}

/** Applies a layer whose compressed bytes are proven as the program proves them; gives the warnings. */
async function apply(layer: Layer): Promise<string[]> {
  const { bytes, digest = sha256(bytes), diffId = sha256(ARCHIVE), piece = 65536, size = bytes.length, turns } = layer;
  const warnings: string[] = [];
  const proven = verified(pieces(bytes, piece, turns), { digest, size } as Descriptor, "the layer");
  const proved = { index: 0, name: "layer 1", diffId: diffId as Digest, size, bytes: proven };
  await applyLayer(proved, NOWHERE, decoder, (text) => warnings.push(text));
  return warnings;
}

testBoth("layers of every compression are unpacked whole, in pieces of every size", async () => {
  for (const compression of ALL) {
    for (const piece of [1000, 65536, 1 << 30]) {
      assert.deepEqual(await apply({ bytes: compress(ARCHIVE, compression), piece }), [], `${compression} ${piece}`);
    }
  }
  const small = t.tar([t.file("a", "content")]);
  for (const compression of ALL) {
    await apply({ bytes: compress(small, compression, 100), diffId: sha256(small), piece: 1 });
  }
});

Deno.test("a layer of many gzip members or zstd frames reaches the tree to its end", async () => {
  for (const compression of ["gzip-members", "zstd-frames"] as const) {
    await unpackBothWays([[t.file("first", "1"), t.file("big", NOISE), t.file("last", "2")]], async (result) => {
      const lines = (await outline(result)).filter((line) => !line.startsWith("big"));
      assert.deepEqual([lines, result.tree["big"]?.sha256], [["first = 1", "last = 2"], sha256(NOISE).slice(7)]);
    }, { compression });
  }
});

Deno.test("zstd frames of every kind behind one another: empty, small, large, of unknown length, skippable", async () => {
  const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  // One raw block and no content size in the header, as streaming compressors write.
  const unknown = (content: Uint8Array) => {
    const header = content.length << 3 | 1;
    return t.concat([
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x38, header & 255, header >> 8 & 255, header >> 16),
      content,
    ]);
  };
  const parts = [new Uint8Array(0), t.bytesOf("small"), NOISE.subarray(0, 2 << 20), t.bytesOf("end")];
  const frames = [
    skippable,
    ...parts.map((part) => zstdCompressSync(part)),
    skippable,
    unknown(t.bytesOf("unknown")),
    skippable,
  ];
  const plain = t.concat(await collect(decompress(pieces(t.concat(frames), 777))));
  assert.deepEqual(plain, t.concat([...parts, t.bytesOf("unknown")]));
});

Deno.test("the cost of tiny frames in one piece grows as their number does", async () => {
  const frame = zstdCompressSync(t.bytesOf("x"));
  const cost = async (count: number) => {
    const data = t.concat(Array(count).fill(frame)), start = performance.now();
    let size = 0;
    for await (const chunk of decompress(pieces(data, data.length))) size += chunk.length;
    assert.equal(size, count);
    return (performance.now() - start) / count;
  };
  await cost(1000);
  // A machine that is busy elsewhere disturbs one try; a cost that grows with the square is there in each.
  const ratios: number[] = [];
  while (ratios.length < 4 && !(ratios.at(-1)! < 2)) {
    const few = await cost(2000);
    ratios.push(await cost(40_000) / few);
  }
  assert.ok(
    ratios.at(-1)! < 2,
    `a frame among 40,000 costs ${ratios.map((r) => r.toFixed(1)).join(", ")} times one among 2,000`,
  );
});

testBoth("what is compressed is told by its first bytes; nothing at all is an empty archive", async () => {
  const empty = new Uint8Array(0);
  const unmarked = "layer 1 ends without the two blocks of zeros that end an archive.";
  assert.deepEqual(await apply({ bytes: empty, diffId: sha256(empty) }), [unmarked]);
  assert.deepEqual(await apply({ bytes: gzipSync(empty), diffId: sha256(empty) }), [unmarked]);
  const nothing = new Uint8Array(1024);
  assert.deepEqual(await apply({ bytes: gzipSync(nothing), diffId: sha256(nothing) }), []);
});

testBoth("an archive without its end is unpacked, with a warning", async () => {
  const archive = t.tar([t.file("a", "x")], { endBlocks: 0 });
  assert.deepEqual(await apply({ bytes: gzipSync(archive), diffId: sha256(archive) }), [
    "layer 1 ends without the two blocks of zeros that end an archive.",
  ]);
});

testBoth("bytes behind the archive's end belong to the diffID, and to no file", async () => {
  const archive = t.tar([t.file("a", "x")], { trailing: "trailing ".repeat(1000) });
  await unpack([archive], ({ tree }) => assert.deepEqual(Object.keys(tree).sort(), [".", "a"]));
  const without = sha256(archive.subarray(0, 2048));
  await rejects(
    () => apply({ bytes: gzipSync(archive), diffId: without }),
    "DIGEST_MISMATCH",
    `Refused layer 1: unpacked it is ${sha256(archive)}, and the image's configuration says ${without}.`,
  );
});

testBoth("a wrong diffID is told with both", async () => {
  const said = `sha256:${"0".repeat(64)}`;
  for (const compression of ALL) {
    await rejects(
      () => apply({ bytes: compress(ARCHIVE, compression), diffId: said }),
      "DIGEST_MISMATCH",
      `Refused layer 1: unpacked it is ${sha256(ARCHIVE)}, and the image's configuration says ${said}.`,
    );
  }
});

testBoth("a sha512 diffID is computed as such", async () => {
  const { createHash } = await import("node:crypto");
  const diffId = `sha512:${createHash("sha512").update(ARCHIVE).digest("hex")}`;
  assert.deepEqual(await apply({ bytes: gzipSync(ARCHIVE), diffId }), []);
});

const DAMAGED: [Compression, string][] = [
  ["gzip", "Cannot unpack the layer: its gzip data is damaged."],
  ["gzip-members", "Cannot unpack the layer: its gzip data is damaged."],
];

testBoth("damaged bytes of the right digest are the layer's fault", async () => {
  for (const [compression, why] of DAMAGED) {
    const whole = compress(ARCHIVE, compression);
    const damaged = whole.slice();
    damaged.fill(0xff, 40_000, 100_100);
    await rejects(() => apply({ bytes: damaged }), "BROKEN_LAYER", why);
    await rejects(() => apply({ bytes: whole.subarray(0, whole.length - 5) }), "BROKEN_LAYER", why);
    await rejects(
      () => apply({ bytes: t.concat([whole, t.bytesOf("junk behind the last member")]) }),
      "BROKEN_LAYER",
      why,
    );
  }
  for (const compression of ["zstd", "zstd-frames"] as const) {
    const whole = compress(ARCHIVE, compression),
      cut = "Cannot decompress the layer: it is cut off in the middle of a frame.";
    await rejects(() => apply({ bytes: whole.subarray(0, whole.length - 1) }), "BROKEN_LAYER", cut);
    await rejects(() => apply({ bytes: whole.subarray(0, whole.length >> 1) }), "BROKEN_LAYER", cut);
    await rejects(
      () => apply({ bytes: t.concat([whole, t.bytesOf("junk behind it")]) }),
      "BROKEN_LAYER",
      "Cannot decompress the layer: it holds bytes that are no zstd frame.",
    );
  }
  const text = t.bytesOf("<html>".repeat(200));
  await rejects(
    () => apply({ bytes: text }),
    "BROKEN_LAYER",
    "Cannot read the layer as a tar archive: a header's checksum is no octal number.",
  );
});

testBoth("damaged bytes of a wrong digest are the registry's fault, however they are cut into pieces", async () => {
  for (const compression of ALL) {
    const whole = compress(ARCHIVE, compression), digest = sha256(whole);
    const damaged = whole.slice();
    damaged.fill(0xff, 700, 1000); // a header, or the first block: everything behind it cannot be read
    const found = sha256(damaged);
    // The reading side and the feeding side take turns at the pieces: each count of them ends with another one.
    for (const piece of [whole.length, Math.ceil(whole.length / 2), 200_000, 40_000, 65536, 50_000, 10_000, 9_999]) {
      assert.deepEqual(await rejectionOf(() => apply({ bytes: damaged, digest, piece, turns: true })), {
        code: "DIGEST_MISMATCH",
        message: `Refused the layer: expected ${digest}, got ${found}.`,
      }, `${compression} in pieces of ${piece}`);
    }
    await rejects(
      () => apply({ bytes: whole.subarray(0, 500_000 < whole.length ? 500_000 : 100), digest, size: whole.length }),
      "DIGEST_MISMATCH",
      `Refused the layer: expected ${whole.length} bytes, got ${500_000 < whole.length ? 500_000 : 100}.`,
    );
  }
});

testBoth("what the source throws is what is told, whatever the decoder makes of the cut", async () => {
  for (const compression of ALL) {
    const whole = compress(ARCHIVE, compression), reason = new Error("the connection broke");
    const breaking = async function* () {
      yield* pieces(whole.subarray(0, whole.length >> 1), 10_000);
      throw reason;
    };
    const diffId = sha256(ARCHIVE) as Digest, size = whole.length;
    const layer = { index: 0, name: "layer 1", diffId, size, bytes: breaking() };
    await assert.rejects(applyLayer(layer, NOWHERE, decoder, () => {}), reason, compression);
  }
});

testBoth("a writer that fails stops the reading soon, and the source is closed", async () => {
  for (const compression of ALL) {
    let closed = false, taken = 0;
    const whole = compress(t.concat([ARCHIVE, ...Array(10).fill(NOISE)]), compression);
    const source = async function* () {
      try {
        for await (const piece of pieces(whole, 10_000)) {
          taken++;
          yield piece;
        }
      } finally {
        closed = true;
      }
    };
    const reason = new Error("full");
    const writer = {
      ...NOWHERE,
      entry: () => {
        throw reason;
      },
    } as unknown as TreeWriter;
    const diffId = sha256(ARCHIVE) as Digest, size = whole.length;
    const layer = { index: 0, name: "layer 1", diffId, size, bytes: source() };
    await assert.rejects(applyLayer(layer, writer, decoder, () => {}), reason);
    assert.ok(closed, `${compression}: the source stayed open`);
    assert.ok(taken < whole.length / 10_000, `${compression}: all ${taken} pieces were read`);
  }
});

Deno.test("a bomb is stopped long before its end", async () => {
  const zeros = new Uint8Array(16 << 20);
  const gzip = gzipSync(zeros, { level: 9 }), zstd = zstdCompressSync(zeros);
  const bombs: [string, AsyncIterable<Uint8Array>][] = [
    ["gzip", endless(gzip)],
    ["zstd", endless(zstd)],
  ];
  for (const [name, bomb] of bombs) {
    let plain = 0;
    const reading = async () => {
      for await (const chunk of decompress(bomb)) plain += chunk.length;
    };
    const { code, message } = await rejectionOf(reading);
    assert.equal(code, "BROKEN_LAYER", name);
    assert.equal(message, "Cannot unpack the layer: it grows to more than 1000 times its size.");
    assert.ok(plain < 256 << 20, `${name}: ${plain} bytes came out`);
  }
});

/** Many times the same, without end: whoever reads on never stops. */
async function* endless(member: Uint8Array): AsyncGenerator<Uint8Array> {
  for (;;) {
    await Promise.resolve();
    yield member;
  }
}

Deno.test("a frame that says it is small and is not is refused before it fills the memory", async () => {
  // Its header promises 300 bytes; raw blocks without end follow.
  const block = new Uint8Array(3 + 131072);
  block.set([0, 0, 0x10]); // 131072 << 3, type 0, not the last
  const lying = async function* () {
    yield Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x40, 0x38, 44, 0);
    yield* endless(block);
  };
  let taken = 0;
  const counted = async function* () {
    for await (const piece of lying()) {
      taken += piece.length;
      yield piece;
    }
  };
  await rejects(
    () => collect(decompress(counted())),
    "BROKEN_LAYER",
    "Cannot unpack the layer: a zstd frame does not hold what its header says.",
  );
  assert.ok(taken < 8 << 20, `${taken} bytes were kept`);
});

Deno.test("memory stays bounded while a large layer goes through", async () => {
  const chunk = t.concat([t.tar([t.file("f", NOISE)], { endBlocks: 0 })]);
  const member = gzipSync(chunk, { level: 1 });
  const source = async function* () {
    for (let i = 0; i < 300; i++) yield* pieces(member, 65536);
  };
  let most = 0, size = 0;
  for await (const piece of decompress(source())) {
    size += piece.length;
    most = Math.max(most, Deno.memoryUsage().external);
  }
  assert.equal(size, chunk.length * 300);
  assert.ok(most < 450 << 20, `${most >> 20} MiB were held`);
});

testBoth("damaged layers: only errors of ours come out, and all of them do", async () => {
  const random = new Random(3), archive = t.tar([t.file("a", "content".repeat(500)), t.symlink("b", "a")]);
  const seeds = ALL.map((compression) => compress(archive, compression, 700));
  const codes = new Set<string>();
  for (let round = 0; round < 300; round++) {
    const bytes = random.mutate(random.pick(seeds));
    try {
      await apply({ bytes, diffId: sha256(archive), piece: random.pick([1, 100, 4096]) });
    } catch (thrown) {
      assert.ok(thrown instanceof Error && thrown.name === "CosError", String(thrown));
      codes.add((thrown as unknown as { code: string }).code);
    }
  }
  assert.deepEqual([...codes].sort(), ["BROKEN_LAYER", "DIGEST_MISMATCH"]);
});

Deno.test("where no second thread can be had, the work is done on this one", async () => {
  using none = new Thread("data:text/javascript,throw new Error('no thread')");
  decoder = new DecoderThread(none);
  try {
    for (const compression of ALL) assert.deepEqual(await apply({ bytes: compress(ARCHIVE, compression) }), []);
  } finally {
    decoder = INLINE_DECODER;
  }
});

Deno.test("a thread that ends in the middle is an error, and nobody waits for it", async () => {
  using thread = new Thread(secondThread());
  const decoder = new DecoderThread(thread);
  const bytes = compress(t.concat(Array(20).fill(NOISE)), "none"), diffId = sha256(bytes) as Digest;
  const source = async function* () {
    yield bytes.subarray(0, 1 << 20);
    thread[Symbol.dispose]();
    // Nothing more comes, and nobody takes what is there.
    yield bytes.subarray(1 << 20);
  };
  const layer = { index: 0, name: "layer 1", diffId, size: bytes.length, bytes: source() };
  await assert.rejects(applyLayer(layer, NOWHERE, decoder, () => {}), /the second thread has ended/);
});

Deno.test("who stops reading at any moment gets the next layer whole: no piece of the thread's memory is lost", async () => {
  using thread = new Thread(secondThread());
  const decoder = new DecoderThread(thread), plain = t.concat(Array(30).fill(NOISE)), diffId = sha256(plain);
  const bytes = compress(plain, "none");
  let closed = 0;
  const source = async function* () {
    try {
      for (let at = 0; at < bytes.length; at += 100_000) {
        yield bytes.slice(at, at + 100_000);
        if (at % 300_000 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
    } finally {
      closed++;
    }
  };
  const rounds = 40;
  for (let round = 0; round < rounds; round++) {
    let pieces = 0;
    const read = async () => {
      for await (const _ of decoder.decode(source(), "sha256")) {
        if (pieces++ < round % 10) continue;
        if (round % 2 === 0) break;
        throw new Error("no more");
      }
    };
    if (round % 2 === 0) await read();
    else await assert.rejects(read, /no more/);
  }
  const layer = decoder.decode(source(), "sha256");
  let size = 0;
  for await (const piece of layer) size += piece.length;
  assert.deepEqual([size, `sha256:${layer.hex()}`], [plain.length, diffId]);
  // The last ones are closed a moment later; one that is left open keeps this waiting for ever.
  while (closed < rounds + 1) await new Promise((resolve) => setTimeout(resolve, 1));
});
