/** One layer, from its compressed bytes to files, in one pass. */
import { CosError } from "../base/errors.ts";
import { type Digest, digestAlgorithm } from "../base/digest.ts";
import { TarReader } from "../formats/tar.ts";
import { giveBackMemory } from "../system/garbage.ts";
import type { LayerDecoder } from "./decoder.ts";
import type { TreeWriter } from "./tree-writer.ts";

export interface Layer {
  /** 0 is the lowest. */
  index: number;
  /** As people name it in messages. */
  name: string;
  /** Of the uncompressed archive: image-spec 1.1, config.md, "Layer DiffID". */
  diffId: Digest;
  /** Compressed bytes that throw where they are not those of the layer's digest. */
  bytes: AsyncIterable<Uint8Array>;
}

/**
 * Throws `DIGEST_MISMATCH`, `BROKEN_LAYER`, `NO_SPACE`, and what the bytes' source throws. What was written by then stays: the
 * caller gives the whole image up.
 */
export async function applyLayer(
  layer: Layer,
  writer: TreeWriter,
  decoder: LayerDecoder,
  warn: (text: string) => void,
): Promise<void> {
  const reader = new TarReader(writer);
  const source = new LayerSource(layer.bytes[Symbol.asyncIterator]());
  const archive = decoder.decode(source, digestAlgorithm(layer.diffId));
  writer.startLayer(layer.index);
  try {
    for await (const piece of archive) reader.push(piece);
    reader.finish();
    writer.endLayer();
    // Bytes behind the end of what was decompressed still belong to the digest.
    await source.drain();
  } catch (thrown) {
    // Damaged bytes break the decoder or the archive before their digest is known. Which of the two it was, a wrong image or a
    // wrong transfer, is what the operator needs to know; so the rest is read, and its digest has the first word.
    if (thrown instanceof CosError && thrown.code === "BROKEN_LAYER") await source.drain();
    throw thrown;
  } finally {
    await source.close();
    giveBackMemory();
  }
  const found = `${digestAlgorithm(layer.diffId)}:${archive.hex()}`;
  if (found !== layer.diffId) {
    throw new CosError(
      "DIGEST_MISMATCH",
      `Refused ${layer.name}: unpacked it is ${found}, and the image's configuration says ${layer.diffId}.`,
      {
        hint: "The image was built or pushed wrongly: build it again, or ask whoever publishes it.",
        details: { expected: layer.diffId, found },
      },
    );
  }
  if (reader.endedWithoutMark) warn(`${layer.name} ends without the two blocks of zeros that end an archive.`);
}

/** The compressed bytes, for a decoder that may stop before their end, and then for `drain`. */
class LayerSource implements AsyncIterableIterator<Uint8Array> {
  readonly #compressed: AsyncIterator<Uint8Array>;
  #stopped = false;
  #failure: { reason: unknown } | undefined;

  constructor(compressed: AsyncIterator<Uint8Array>) {
    this.#compressed = compressed;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** A decoder's feeding goes on beside the reading, for a moment also when that has stopped: it gets nothing any more. */
  next(): Promise<IteratorResult<Uint8Array>> {
    return this.#stopped ? Promise.resolve({ done: true, value: undefined }) : this.#next();
  }

  /** The stream stays open for `drain`. */
  return(): Promise<IteratorResult<Uint8Array>> {
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Reads what is left; throws what the stream throws, also where that reached only a feeding to which nobody listens. */
  async drain(): Promise<void> {
    this.#stopped = true;
    while (this.#failure === undefined && !(await this.#next()).done);
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await this.#compressed.return?.();
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    try {
      return await this.#compressed.next();
    } catch (reason) {
      this.#failure = { reason };
      throw reason;
    }
  }
}
