/** Decompression of layers. What they are is read from their first bytes: media types have been seen to lie. */
import { gunzip, unzstd, unzstdSync } from "../system/codecs.ts";
import { ZstdFrameWalker } from "../formats/zstd-frames.ts";
import { broken } from "./errors.ts";

export type Compression = "none" | "gzip" | "zstd";

/** A frame that says it holds no more than this is decompressed at once: a stream of its own would cost more. Bytes. */
const SMALL_FRAME = 1024 * 1024;
/** What such a frame may need at the most, were it flushed after every byte. One that says a small size and never ends is a bomb. */
const SMALL_FRAME_COMPRESSED = 4 * SMALL_FRAME;
/** Honest layers stay far below; a bomb shows itself soon after the first bytes. */
const MAX_RATIO = 1000;
const RATIO_COUNTS_FROM = 64 * 1024 * 1024;

/** @param start at least four bytes, unless the layer is shorter. */
export function sniffCompression(start: Uint8Array): Compression {
  if (start[0] === 0x1f && start[1] === 0x8b) return "gzip";
  if (start[0] === 0x28 && start[1] === 0xb5 && start[2] === 0x2f && start[3] === 0xfd) return "zstd";
  // A skippable frame may stand first: 184D2A50 to 184D2A5F, little-endian.
  if (((start[0] ?? 0) & 0xf0) === 0x50 && start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18) return "zstd";
  return "none";
}

/** Throws `BROKEN_LAYER` for damaged or cut data, and for what grows beyond all measure. */
export async function* decompress(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    let start: Uint8Array = new Uint8Array(0);
    while (start.length < 4) {
      const { done, value } = await iterator.next();
      if (done) break;
      start = start.length === 0 ? value : joined(start, value);
    }
    if (start.length === 0) return;
    let compressed = 0, plain = 0;
    const counted = count(start, iterator, (bytes) => compressed += bytes);
    const kind = sniffCompression(start);
    const output = kind === "gzip" ? gzip(counted) : kind === "zstd" ? zstd(counted) : counted;
    for await (const chunk of output) {
      plain += chunk.length;
      if (plain > RATIO_COUNTS_FROM && plain > compressed * MAX_RATIO) {
        throw broken(`it grows to more than ${MAX_RATIO} times its size`);
      }
      yield chunk;
    }
  } finally {
    await iterator.return?.();
  }
}

async function* count(
  start: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
  add: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  add(start.length);
  yield start;
  for (;;) {
    const { done, value } = await rest.next();
    if (done) return;
    add(value.length);
    yield value;
  }
}

/** Fed beside the reading, so that neither waits for a whole chunk of the other. */
async function* gzip(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = await gunzip();
  const source = failureOf(async () => {
    for await (const chunk of chunks) await decoder.write(chunk);
    decoder.end();
  }, (reason) => decoder.destroy(reason));
  try {
    yield* decoder;
  } catch (thrown) {
    throw await sourceFirst(source, thrown, "gzip");
  } finally {
    decoder.destroy(new Error("not needed any more"));
  }
  await rethrow(source);
}

/** Frames one after the other; each large one has a decoder of its own, small ones are done at once. */
async function* zstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const small = await unzstdSync();
  type Part = { kind: "frame"; size: number | undefined } | { kind: "bytes"; bytes: Uint8Array } | { kind: "end" };
  // Read by a cursor: to shift each of the hundred thousand that one chunk can hold would move all the others.
  const parts: Part[] = [];
  let at = 0;
  const walker = new ZstdFrameWalker({
    frame: (size) => parts.push({ kind: "frame", size }),
    bytes: (bytes) => parts.push({ kind: "bytes", bytes }),
    frameEnd: () => parts.push({ kind: "end" }),
  });
  const iterator = chunks[Symbol.asyncIterator]();
  /** The next part, walking on as far as needed; undefined behind the last frame. */
  const next = async (): Promise<Part | undefined> => {
    for (;;) {
      const part = parts[at++];
      if (part !== undefined) return part;
      parts.length = at = 0;
      const { done, value } = await iterator.next();
      if (done) {
        walker.finish();
        return undefined;
      }
      walker.push(value);
    }
  };
  for (let part = await next(); part !== undefined; part = await next()) {
    if (part.kind !== "frame") throw new Error("a frame's parts are out of order");
    if (part.size !== undefined && part.size <= SMALL_FRAME) {
      const frame: Uint8Array[] = [];
      let length = 0;
      for (let p = await next(); p?.kind === "bytes"; p = await next()) {
        frame.push(p.bytes);
        length += p.bytes.length;
        if (length > SMALL_FRAME_COMPRESSED) throw notAsSaid();
      }
      yield wholeFrame(small, joined(...frame), part.size);
      continue;
    }
    yield* largeFrame(async () => {
      const p = await next();
      return p?.kind === "bytes" ? p.bytes : undefined;
    });
  }
}

function wholeFrame(decode: (bytes: Uint8Array) => Uint8Array, frame: Uint8Array, size: number): Uint8Array {
  let plain;
  try {
    plain = decode(frame);
  } catch (cause) {
    throw broken("its zstd data is damaged", cause);
  }
  if (plain.length !== size) throw notAsSaid();
  return plain;
}

function notAsSaid(): Error {
  return broken("a zstd frame does not hold what its header says");
}

async function* largeFrame(next: () => Promise<Uint8Array | undefined>): AsyncGenerator<Uint8Array> {
  const decoder = await unzstd();
  const source = failureOf(async () => {
    for (let bytes = await next(); bytes !== undefined; bytes = await next()) await decoder.write(bytes);
    decoder.end();
  }, (reason) => decoder.destroy(reason));
  try {
    yield* decoder;
  } catch (thrown) {
    throw await sourceFirst(source, thrown, "zstd");
  } finally {
    decoder.destroy(new Error("not needed any more"));
  }
  await rethrow(source);
}

/** Runs `feed` beside the reading and gives its failure as a value: nobody may be left with an unhandled rejection. */
function failureOf(
  feed: () => Promise<void>,
  stop: (reason: Error) => void,
): Promise<{ failure: unknown } | undefined> {
  return feed().then(() => undefined, (failure) => {
    stop(new Error("the source failed"));
    return { failure };
  });
}

/** The reason why the reading broke: what the source threw, if it was the source, else damaged data. */
async function sourceFirst(
  source: Promise<{ failure: unknown } | undefined>,
  thrown: unknown,
  kind: string,
): Promise<unknown> {
  const pending = Symbol();
  // A decoder that found damage leaves the feeding waiting for nothing; only a failure that is already there counts.
  const first = await Promise.race([source, new Promise((resolve) => setTimeout(resolve, 0, pending))]);
  if (typeof first === "object" && first !== null && "failure" in first) return first.failure;
  return broken(`its ${kind} data is damaged`, thrown);
}

async function rethrow(source: Promise<{ failure: unknown } | undefined>): Promise<void> {
  const failed = await source;
  if (failed !== undefined) throw failed.failure;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0];
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
