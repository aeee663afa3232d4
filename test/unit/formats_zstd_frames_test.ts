import assert from "node:assert/strict";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { ZstdFrameWalker } from "../../lib/formats/zstd-frames.ts";
import { thrownBy } from "../lab/expect.ts";
import { bytesOf, concat } from "../lab/tar-writer.ts";

interface Frame {
  size: number | undefined;
  bytes: Uint8Array;
}

function inPieces(data: Uint8Array, size: number): Frame[] {
  const frames: Frame[] = [];
  let open: { size: number | undefined; parts: Uint8Array[] } | undefined;
  const walker = new ZstdFrameWalker({
    frame(contentSize) {
      assert.equal(open, undefined);
      open = { size: contentSize, parts: [] };
    },
    bytes(bytes) {
      assert.ok(open !== undefined && bytes.length > 0);
      open.parts.push(bytes.slice());
    },
    frameEnd() {
      assert.ok(open !== undefined);
      frames.push({ size: open.size, bytes: concat(open.parts) });
      open = undefined;
    },
  });
  for (let at = 0; at < data.length; at += size) {
    const piece = data.slice(at, at + size);
    walker.push(piece);
    piece.fill(0x55);
  }
  walker.finish();
  return frames;
}

/** Walks in pieces of every awkward size, which must agree. */
function walk(data: Uint8Array): Frame[] {
  const whole = inPieces(data, Math.max(data.length, 1));
  for (const size of [1, 2, 3, 7, 4096]) assert.deepEqual(inPieces(data, size), whole, `in pieces of ${size}`);
  return whole;
}

function refused(data: Uint8Array, why: string): void {
  for (const size of [1, Math.max(data.length, 1)]) {
    assert.deepEqual(thrownBy(() => inPieces(data, size)), {
      code: "BROKEN_LAYER",
      message: `Cannot decompress the layer: ${why}.`,
    });
  }
}

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
type Block = { type: 0 | 1 | 2 | 3; size: number; body?: number[]; last?: boolean };

function block({ type, size, body = [], last = false }: Block): number[] {
  const header = size << 3 | type << 1 | (last ? 1 : 0);
  return [header & 255, header >> 8 & 255, header >> 16 & 255, ...body];
}

const RAW3: Block = { type: 0, size: 3, body: [1, 2, 3], last: true };

function frame(descriptor: number, header: number[], blocks: Block[] = [RAW3], end: number[] = []): Uint8Array {
  return Uint8Array.from([...MAGIC, descriptor, ...header, ...blocks.flatMap(block), ...end]);
}

function skippable(low: number, length: number): Uint8Array {
  const bytes = new Uint8Array(8 + length).fill(0x28);
  bytes.set([0x50 | low, 0x2a, 0x4d, 0x18, length & 255, length >> 8 & 255, 0, 0]);
  return bytes;
}

const CUT = "it is cut off in the middle of a frame";

Deno.test("frames of a real compressor are found where they lie, and their bytes are all handed on", () => {
  const contents = ["", "a", "hello ".repeat(50), "x".repeat(300_000)].map(bytesOf);
  const noise = Uint8Array.from({ length: 200_000 }, (_, i) => (i * i * 2654435761 >>> 13) & 255);
  const all = [...contents, noise], data = concat(all.map((content) => zstdCompressSync(content)));
  // The compressor may end what it was given with an empty frame: what counts is that all comes out again, frame by frame.
  const frames = walk(data);
  assert.ok(frames.length >= all.length);
  assert.deepEqual(concat(frames.map(({ bytes }) => bytes)), data);
  assert.deepEqual(concat(frames.map(({ bytes }) => zstdDecompressSync(bytes))), concat(all));
});

Deno.test("an empty input holds no frame", () => assert.deepEqual(walk(new Uint8Array(0)), []));

Deno.test("the content's size is read in each of its forms, and may be missing", () => {
  const cases: [number, number[], number | undefined][] = [
    [0x20, [3], 3], // one segment, one byte
    [0x00, [0x58], undefined], // a window, no size
    [0x40, [0x58, 3, 0], 256 + 3],
    [0x60, [3, 0], 256 + 3],
    [0x80, [0x58, 3, 1, 0, 0], 259],
    [0xa0, [3, 0, 0, 0], 3],
    [0xc0, [0x58, 0, 0, 0, 0, 1, 0, 0, 0], 2 ** 32],
    [0xe0, [3, 0, 0, 0, 0, 0, 0, 0], 3],
  ];
  for (const [descriptor, header, size] of cases) {
    const bytes = frame(descriptor, header);
    assert.deepEqual(walk(bytes), [{ size, bytes }]);
  }
});

Deno.test("blocks of each type, empty ones, and a checksum behind the last belong to their frame", () => {
  const all: Block[] = [
    { type: 0, size: 0 },
    { type: 0, size: 5, body: [1, 2, 3, 4, 5] },
    { type: 1, size: 131072, body: [7] }, // run-length: one byte stands for all
    { type: 1, size: 0, body: [7] },
    { type: 2, size: 4, body: [9, 9, 9, 9] },
  ];
  const last: Block[] = [{ type: 0, size: 0, last: true }, { type: 1, size: 9, body: [1], last: true }, RAW3];
  for (const end of last) {
    const plain = frame(0x00, [0x58], [...all, end]), summed = frame(0x04, [0x58], [...all, end], [1, 2, 3, 4]);
    assert.deepEqual(
      walk(concat([plain, summed, plain])),
      [plain, summed, plain].map((bytes) => ({
        size: undefined,
        bytes,
      })),
    );
  }
});

Deno.test("skippable frames are left out wherever they stand, also when they look like frames inside", () => {
  const one = frame(0x20, [3]);
  const frames = walk(concat([skippable(0, 0), one, skippable(15, 300), skippable(7, 4), one, skippable(3, 9)]));
  assert.deepEqual(frames.map(({ bytes }) => bytes), [one, one]);
  assert.deepEqual(walk(skippable(5, 1000)), []);
});

Deno.test("data that is cut anywhere but between frames is refused", () => {
  const parts = [
    skippable(1, 5),
    frame(0x04, [0x58], [{ type: 1, size: 9, body: [1] }, RAW3], [1, 2, 3, 4]),
    frame(0x20, [3]),
  ];
  const data = concat(parts);
  const ends = new Set([
    0,
    parts[0]?.length,
    parts.slice(0, 2).reduce((sum, part) => sum + part.length, 0),
    data.length,
  ]);
  for (let length = 0; length <= data.length; length++) {
    const cut = data.subarray(0, length);
    if (ends.has(length)) walk(cut);
    else refused(cut, CUT);
  }
});

Deno.test("what no layer may ask for is refused: large windows, dictionaries, reserved bits and blocks, other bytes", () => {
  assert.equal(walk(frame(0x00, [17 << 3])).length, 1); // 128 MiB
  refused(frame(0x00, [17 << 3 | 1]), "a frame wants a window of 144 MiB; at most 128 MiB is allowed");
  refused(frame(0x00, [0xff]), "a frame wants a window of 3.8 TiB; at most 128 MiB is allowed");
  refused(
    frame(0xe0, [0, 0, 0, 0, 1, 0, 0, 0]),
    "a frame wants a window of 4 GiB; at most 128 MiB is allowed",
  );
  for (const id of [1, 2, 3]) {
    refused(frame(0x20 | id, [1, 0, 0, 0, 3]), "a frame wants a dictionary, which layers do not have");
  }
  refused(frame(0x28, [3]), "a frame's header has a reserved bit set");
  refused(frame(0x20, [3], [{ type: 3, size: 1, body: [1], last: true }]), "it has a block of the reserved type");
  refused(bytesOf("no zstd at all"), "it holds bytes that are no zstd frame");
  refused(concat([frame(0x20, [3]), bytesOf("\0\0\0\0\0\0\0\0")]), "it holds bytes that are no zstd frame");
  refused(concat([frame(0x20, [3]), bytesOf("abc")]), CUT);
});
