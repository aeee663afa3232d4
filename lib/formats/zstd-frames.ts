/**
 * Finds where zstd frames begin and end (RFC 8878, section 3) without decompressing them. It is needed because the runtime's
 * decoder stops silently behind the first frame and takes a truncated one for whole: a layer of many frames, which several
 * builders write, would lose its end without a word.
 */
import { CosError } from "../base/errors.ts";
import { formatSize } from "../base/size.ts";

export interface ZstdFrameSink {
  /** A frame begins. `contentSize` is its decompressed length in bytes, where the header tells it. */
  frame(contentSize: number | undefined): void;
  /** Compressed bytes of the current frame, its header included. Only valid during the call. */
  bytes(bytes: Uint8Array): void;
  frameEnd(): void;
}

const MAGIC = 0xfd2fb528;
/** 128 MiB, zstd's own default limit for decoders (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`). */
export const MAX_WINDOW = 128 * 1024 * 1024;
/** Magic number, descriptor, window, dictionary, content size. */
const LONGEST_HEADER = 18;

type Need = "header" | "block" | "body" | "checksum" | "skip";

export class ZstdFrameWalker {
  readonly #sink: ZstdFrameSink;
  readonly #head = new Uint8Array(LONGEST_HEADER);
  readonly #view = new DataView(this.#head.buffer);
  #filled = 0;
  #need: Need = "header";
  #left = 0;
  #last = false;
  #checksum = false;

  constructor(sink: ZstdFrameSink) {
    this.#sink = sink;
  }

  /** Throws `BROKEN_LAYER` for what is no zstd data, or wants a window over `MAX_WINDOW`. */
  push(chunk: Uint8Array): void {
    let at = 0;
    /** Where the part of this chunk begins that belongs to the frame and was not handed on yet. */
    let from = 0;
    const hand = (to: number) => {
      if (to > from) this.#sink.bytes(chunk.subarray(from, to));
      from = to;
    };
    while (at < chunk.length) {
      if (this.#need === "header") {
        this.#head[this.#filled++] = chunk[at++] ?? 0;
        from = at;
        if (this.#headerEnd()) {
          if (this.#need === ("block" as Need)) this.#sink.bytes(this.#head.slice(0, this.#filled));
          this.#filled = 0;
        }
      } else if (this.#need === "block") {
        this.#head[this.#filled++] = chunk[at++] ?? 0;
        if (this.#filled < 3) continue;
        this.#filled = 0;
        const header = (this.#head[0] ?? 0) | (this.#head[1] ?? 0) << 8 | (this.#head[2] ?? 0) << 16;
        this.#last = (header & 1) === 1;
        const type = header >> 1 & 3;
        if (type === 3) throw broken("it has a block of the reserved type");
        this.#left = type === 1 ? 1 : header >> 3; // a run-length block stores one byte
        this.#need = "body";
        if (this.#left === 0 && this.#bodyEnd()) hand(at), this.#frameEnd();
      } else {
        const count = Math.min(this.#left, chunk.length - at);
        this.#left -= count;
        at += count;
        if (this.#need === "skip") {
          from = at;
          if (this.#left === 0) this.#need = "header";
        } else if (this.#left === 0 && (this.#need === "checksum" || this.#bodyEnd())) {
          hand(at);
          this.#frameEnd();
        }
      }
    }
    if (this.#need === "block" || this.#need === "body" || this.#need === "checksum") hand(chunk.length);
  }

  /** Must be called after the last chunk. Throws `BROKEN_LAYER` where a frame is cut off. */
  finish(): void {
    if (this.#need !== "header" || this.#filled > 0) throw broken("it is cut off in the middle of a frame");
  }

  /** True where the frame's header is complete; leaves what comes next in `#need`. */
  #headerEnd(): boolean {
    const filled = this.#filled;
    if (filled < 5) return false;
    const magic = this.#view.getUint32(0, true);
    if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
      if (filled < 8) return false;
      this.#left = this.#view.getUint32(4, true);
      this.#need = this.#left > 0 ? "skip" : "header";
      return true;
    }
    if (magic !== MAGIC) throw broken("it holds bytes that are no zstd frame");
    const descriptor = this.#head[4] ?? 0;
    const single = (descriptor & 0x20) !== 0;
    if (descriptor & 0x08) throw broken("a frame's header has a reserved bit set");
    const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
    if (dictionary > 0) throw broken("a frame wants a dictionary, which layers do not have");
    const contentField = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
    const length = 5 + (single ? 0 : 1) + contentField;
    if (filled < length) return false;
    let contentSize: number | undefined;
    const at = length - contentField;
    if (contentField === 1) contentSize = this.#head[at] ?? 0;
    else if (contentField === 2) contentSize = this.#view.getUint16(at, true) + 256;
    else if (contentField === 4) contentSize = this.#view.getUint32(at, true);
    else if (contentField === 8) contentSize = Number(this.#view.getBigUint64(at, true));
    const window = single ? contentSize ?? 0 : windowSize(this.#head[5] ?? 0);
    if (window > MAX_WINDOW) {
      throw broken(`a frame wants a window of ${formatSize(window)}; at most ${formatSize(MAX_WINDOW)} is allowed`);
    }
    this.#checksum = (descriptor & 0x04) !== 0;
    this.#need = "block";
    this.#sink.frame(contentSize);
    return true;
  }

  /** True where the frame is complete with this block. */
  #bodyEnd(): boolean {
    if (!this.#last) {
      this.#need = "block";
      return false;
    }
    if (!this.#checksum) return true;
    this.#need = "checksum";
    this.#left = 4;
    return false;
  }

  #frameEnd(): void {
    this.#need = "header";
    this.#sink.frameEnd();
  }
}

/** RFC 8878, section 3.1.1.1.2. */
function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + base / 8 * (descriptor & 7);
}

function broken(what: string): CosError {
  return new CosError("BROKEN_LAYER", `Cannot decompress the layer: ${what}.`, {
    hint: "The image was built or stored wrongly: build it again, or ask whoever publishes it.",
  });
}
