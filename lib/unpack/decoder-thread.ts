/** A decoder on a thread of its own, beside the one that pulls and writes; see `decoder-worker.ts`. */
import { CosError } from "../base/errors.ts";
import type { DigestAlgorithm } from "../base/digest.ts";
import { freeDeadBuffers } from "../system/garbage.ts";
import { type DecodedLayer, INLINE_DECODER, known, type LayerDecoder } from "./decoder.ts";
import { type FromWorker, type SentError, type ToWorker, WORKER_URL } from "./decoder-worker.ts";

/** Compressed bytes are sent in pieces of this size, and so many of them are on their way at the most. Bytes. */
const PIECE = 256 * 1024, ON_THEIR_WAY = 1024 * 1024;

/** After so many pieces, what the network's and they held is freed. */
const FREE_EVERY = 16;

type Heard = Exclude<FromWorker, { kind: "ready" }> | { kind: "broken"; reason: unknown };

export class DecoderThread implements LayerDecoder, Disposable {
  readonly #worker: Worker;
  /** False: there is no second thread here. Then the work is done on this one. */
  readonly #ready: Promise<boolean>;
  #layer = 0;
  #listen: (heard: Heard) => void = () => {};

  /** Returns at once: the thread starts while other things are done. */
  constructor(url = WORKER_URL) {
    this.#worker = new Worker(url, { type: "module", name: "decoder" });
    this.#ready = new Promise((resolve) => {
      this.#worker.onmessage = ({ data }: { data: FromWorker }) => {
        if (data.kind === "ready") resolve(true);
        else this.#listen(data);
      };
      const fail = (reason: unknown) => {
        resolve(false);
        this.#listen({ kind: "broken", reason });
      };
      this.#worker.onerror = (event) => {
        event.preventDefault();
        fail(new Error(event.message));
      };
      this.#worker.onmessageerror = () => fail(new Error("a message of the decoder's thread was lost"));
    });
  }

  decode(compressed: AsyncIterable<Uint8Array>, algorithm: DigestAlgorithm): DecodedLayer {
    let hex: (() => string) | undefined;
    const decode = async function* (this: DecoderThread): AsyncGenerator<Uint8Array> {
      if (!await this.#ready) {
        const inline = INLINE_DECODER.decode(compressed, algorithm);
        yield* inline;
        hex = inline.hex;
      } else {
        const found = yield* this.#decode(compressed, algorithm);
        hex = () => found;
      }
    };
    return { [Symbol.asyncIterator]: decode.bind(this), hex: () => known(hex?.()) };
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
    this.#listen({ kind: "broken", reason: new Error("the decoder's thread has ended") });
  }

  async *#decode(
    compressed: AsyncIterable<Uint8Array>,
    algorithm: DigestAlgorithm,
  ): AsyncGenerator<Uint8Array, string> {
    const layer = ++this.#layer, replies: Heard[] = [];
    const give = (buffer: ArrayBuffer) => this.#send({ kind: "return", layer, buffer }, [buffer]);
    let wake = () => {}, stopped = false, failed = false, failure: unknown;
    const feed = new Feed(compressed, (bytes) => this.#send({ kind: "bytes", layer, bytes }, bytes && [bytes.buffer]));
    this.#listen = (heard) => {
      if (heard.kind === "plain" && (stopped || heard.layer !== layer)) return give(heard.buffer);
      if (heard.kind !== "broken" && heard.layer !== layer) return;
      if (heard.kind === "taken") return feed.taken(heard.length);
      replies.push(heard);
      wake();
    };
    this.#send({ kind: "begin", layer, algorithm });
    const fed = feed.run().catch((reason) => {
      [failed, failure] = [true, reason];
      wake();
    });
    try {
      for (;;) {
        while (replies.length === 0 && !failed) await new Promise<void>((resolve) => wake = resolve);
        // The source has the first word: what it sent before it failed is cut, which looks like damage.
        if (failed) throw failure;
        const heard = replies.shift();
        if (heard?.kind === "plain") {
          try {
            yield new Uint8Array(heard.buffer, 0, heard.length);
          } finally {
            give(heard.buffer);
          }
        } else if (heard?.kind === "done") {
          await fed;
          if (failed) throw failure;
          return heard.hex;
        } else if (heard?.kind === "failed") throw received(heard.error);
        else if (heard?.kind === "broken") throw heard.reason;
      }
    } finally {
      stopped = true;
      feed.stop();
      this.#send({ kind: "stop", layer });
      for (const heard of replies) if (heard.kind === "plain") give(heard.buffer);
    }
  }

  #send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}

/** Sends a layer's compressed bytes, no more at once than the other side can take up. */
class Feed {
  #piece = new Uint8Array(PIECE);
  #filled = 0;
  #onTheirWay = 0;
  #stopped = false;
  #wake = () => {};
  #sent = 0;

  constructor(
    readonly source: AsyncIterable<Uint8Array>,
    readonly send: (bytes: Uint8Array<ArrayBuffer> | undefined) => void,
  ) {}

  async run(): Promise<void> {
    for await (const chunk of this.source) {
      for (let at = 0; at < chunk.length && !this.#stopped;) {
        const count = Math.min(chunk.length - at, PIECE - this.#filled);
        this.#piece.set(chunk.subarray(at, at + count), this.#filled);
        at += count;
        this.#filled += count;
        if (this.#filled === PIECE) await this.#flush();
      }
      if (this.#stopped) return;
    }
    if (this.#filled > 0) await this.#flush();
    if (!this.#stopped) this.send(undefined);
  }

  taken(length: number): void {
    this.#onTheirWay -= length;
    this.#wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async #flush(): Promise<void> {
    while (this.#onTheirWay >= ON_THEIR_WAY && !this.#stopped) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#stopped) return;
    this.#onTheirWay += this.#filled;
    if (++this.#sent % FREE_EVERY === 0) freeDeadBuffers();
    this.send(this.#piece.subarray(0, this.#filled));
    this.#piece = new Uint8Array(PIECE);
    this.#filled = 0;
  }
}

function received({ code, message, hint, details }: SentError): Error {
  return code === undefined ? new Error(message) : new CosError(code, message, { hint, details });
}
