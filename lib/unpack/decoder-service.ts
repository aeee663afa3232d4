/**
 * Decompresses layers and computes their digests on the second thread, for `decoder-thread.ts`. The runtime's decompression has
 * an asynchronous face, but does its work on the thread that asks for it: on one alone everything would wait for everything else.
 */
import type { DigestAlgorithm } from "../base/digest.ts";
import { CosError, type ErrorCode } from "../base/errors.ts";
import { hasher } from "../system/codecs.ts";
import { freeDeadBuffers } from "../system/garbage.ts";
import { decompress } from "./decompress.ts";

export type ToDecoder =
  & { layer: number }
  & (
    | { kind: "begin"; algorithm: DigestAlgorithm }
    /** Compressed bytes; undefined behind the last of them. */
    | { kind: "bytes"; bytes: Uint8Array | undefined }
    /** A piece of the archive was read: its memory comes back. */
    | { kind: "return"; buffer: ArrayBuffer }
    /** Nobody wants the rest. */
    | { kind: "stop" }
  );

export type FromDecoder =
  & { layer: number }
  & (
    | { kind: "plain"; buffer: ArrayBuffer; length: number }
    /** So many compressed bytes were taken up. */
    | { kind: "taken"; length: number }
    | { kind: "done"; hex: string }
    | { kind: "failed"; error: SentError }
  );

/** A `CosError` as it can be sent; without a code any other error. */
export interface SentError {
  code?: ErrorCode;
  message: string;
  hint: string;
  details: Record<string, string | number>;
}

/** A piece of the archive, in bytes, and how many of them may be on their way at once. */
const PIECE = 256 * 1024, PIECES = 16;

/** The memory of so many pieces, which the decompression made and left, is freed at once. */
const FREE_EVERY = 8;

type Send = (message: FromDecoder, transfer?: ArrayBuffer[]) => void;

export function serveDecoder(send: Send): (message: ToDecoder) => void {
  const free: ArrayBuffer[] = [];
  const waiting: ((buffer: ArrayBuffer) => void)[] = [];
  let current: Job | undefined, made = 0;
  /** Memory for the next piece; waits where all of it is on its way. */
  const take = (): ArrayBuffer | Promise<ArrayBuffer> => {
    const buffer = free.pop();
    if (buffer !== undefined) return buffer;
    if (made++ < PIECES) return new ArrayBuffer(PIECE);
    return new Promise((resolve) => waiting.push(resolve));
  };
  const give = (buffer: ArrayBuffer) => {
    const next = waiting.shift();
    if (next === undefined) free.push(buffer);
    else next(buffer);
  };
  return (data) => {
    if (data.kind === "return") give(data.buffer);
    else if (data.kind === "begin") {
      current = new Job(data.layer);
      void run(current, data.algorithm, take, give, send);
    } else if (current?.layer === data.layer) {
      if (data.kind === "bytes") current.push(data.bytes);
      else current.stop();
    }
  };
}

async function run(
  job: Job,
  algorithm: DigestAlgorithm,
  take: () => ArrayBuffer | Promise<ArrayBuffer>,
  give: (buffer: ArrayBuffer) => void,
  send: Send,
): Promise<void> {
  const { layer } = job;
  let buffer: ArrayBuffer | undefined, length = 0, pieces = 0;
  try {
    const hash = await hasher(algorithm);
    const flush = () => {
      if (buffer === undefined) return;
      hash.update(new Uint8Array(buffer, 0, length));
      send({ kind: "plain", layer, buffer, length }, [buffer]);
      buffer = undefined;
      if (++pieces % FREE_EVERY === 0) freeDeadBuffers();
    };
    const compressed = job.compressed((taken) => send({ kind: "taken", layer, length: taken }));
    for await (const piece of decompress(compressed)) {
      for (let at = 0; at < piece.length;) {
        if (buffer === undefined) {
          buffer = await take();
          length = 0;
          if (job.stopped) return;
        }
        const count = Math.min(piece.length - at, PIECE - length);
        new Uint8Array(buffer, length, count).set(piece.subarray(at, at + count));
        at += count;
        length += count;
        if (length === PIECE) flush();
      }
      if (job.stopped) return;
    }
    flush();
    send({ kind: "done", layer, hex: hash.hex() });
  } catch (thrown) {
    if (!job.stopped) send({ kind: "failed", layer, error: sent(thrown) });
  } finally {
    if (buffer !== undefined) give(buffer);
  }
}

function sent(thrown: unknown): SentError {
  if (thrown instanceof CosError) {
    return { code: thrown.code, message: thrown.message, hint: thrown.hint, details: thrown.details };
  }
  return { message: thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown), hint: "", details: {} };
}

/** One layer's compressed bytes, as they arrive. */
class Job {
  stopped = false;
  readonly #queue: (Uint8Array | undefined)[] = [];
  #wake: (() => void) | undefined;

  constructor(readonly layer: number) {}

  push(bytes: Uint8Array | undefined): void {
    this.#queue.push(bytes);
    this.#wake?.();
  }

  stop(): void {
    this.stopped = true;
    this.#wake?.();
  }

  async *compressed(taken: (length: number) => void): AsyncGenerator<Uint8Array> {
    for (;;) {
      while (this.#queue.length === 0 && !this.stopped) await new Promise<void>((resolve) => this.#wake = resolve);
      const bytes = this.stopped ? undefined : this.#queue.shift();
      if (bytes === undefined) return;
      taken(bytes.length);
      yield bytes;
    }
  }
}
