/** A decoder on the second thread, beside the one that pulls and writes; see `decoder-service.ts`. */
import { CosError } from "../base/errors.ts";
import type { DigestAlgorithm } from "../base/digest.ts";
import { freeDeadBuffers } from "../system/garbage.ts";
import type { Channel, Thread } from "../system/thread.ts";
import { type DecodedLayer, INLINE_DECODER, known, type LayerDecoder } from "./decoder.ts";
import { type FromDecoder, type SentError, type ToDecoder } from "./decoder-service.ts";

/** Compressed bytes are sent in pieces of this size, and so many of them are on their way at the most. Bytes. */
const PIECE = 256 * 1024, ON_THEIR_WAY = 1024 * 1024;

/** After so many pieces, what the network's and they held is freed. */
const FREE_EVERY = 16;

type Heard = FromDecoder | { kind: "broken"; reason: unknown };

export class DecoderThread implements LayerDecoder {
  readonly #channel: Channel<ToDecoder, FromDecoder>;
  #layer = 0;

  constructor(thread: Thread) {
    this.#channel = thread.channel("decoder");
  }

  decode(compressed: AsyncIterable<Uint8Array>, algorithm: DigestAlgorithm): DecodedLayer {
    let hex: (() => string) | undefined;
    const decode = async function* (this: DecoderThread): AsyncGenerator<Uint8Array> {
      if (!await this.#channel.ready) {
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

  async *#decode(
    compressed: AsyncIterable<Uint8Array>,
    algorithm: DigestAlgorithm,
  ): AsyncGenerator<Uint8Array, string> {
    const layer = ++this.#layer, replies: Heard[] = [];
    const give = (buffer: ArrayBuffer) => this.#channel.send({ kind: "return", layer, buffer }, [buffer]);
    let wake = () => {}, stopped = false, failed = false, failure: unknown;
    const feed = new Feed(
      compressed,
      (bytes) => this.#channel.send({ kind: "bytes", layer, bytes }, bytes && [bytes.buffer]),
    );
    const hear = (heard: Heard) => {
      if (heard.kind === "plain" && (stopped || heard.layer !== layer)) return give(heard.buffer);
      if (heard.kind !== "broken" && heard.layer !== layer) return;
      if (heard.kind === "taken") return feed.taken(heard.length);
      replies.push(heard);
      wake();
    };
    this.#channel.listen(hear, (reason) => hear({ kind: "broken", reason }));
    this.#channel.send({ kind: "begin", layer, algorithm });
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
      this.#channel.send({ kind: "stop", layer });
      for (const heard of replies) if (heard.kind === "plain") give(heard.buffer);
    }
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
