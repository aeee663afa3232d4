/** One layer, from its compressed bytes to files, in one pass. */
import { CosError } from "../base/errors.ts";
import { type Digest, digestAlgorithm } from "../base/digest.ts";
import { TarReader } from "../formats/tar.ts";
import { hasher } from "../system/codecs.ts";
import { decompress } from "./decompress.ts";
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
export async function applyLayer(layer: Layer, writer: TreeWriter, warn: (text: string) => void): Promise<void> {
  const hash = await hasher(digestAlgorithm(layer.diffId));
  const reader = new TarReader(writer);
  const compressed = layer.bytes[Symbol.asyncIterator]();
  let sourceFailed = false;
  const source: AsyncIterableIterator<Uint8Array> = {
    next: async () => {
      try {
        return await compressed.next();
      } catch (thrown) {
        sourceFailed = true;
        throw thrown;
      }
    },
    // The stream is kept open for `drain`.
    return: () => Promise.resolve({ done: true, value: undefined }),
    [Symbol.asyncIterator]: () => source,
  };
  writer.startLayer(layer.index);
  try {
    for await (const chunk of decompress(source)) {
      hash.update(chunk);
      reader.push(chunk);
    }
    reader.finish();
    writer.endLayer();
  } catch (thrown) {
    // Damaged bytes break the decoder or the archive before their digest is known. Which of the two it was, a wrong image or a
    // wrong transfer, is what the operator needs to know; so the rest is read, and its digest has the first word.
    if (!sourceFailed && thrown instanceof CosError && thrown.code === "BROKEN_LAYER") await drain(compressed);
    throw thrown;
  } finally {
    await compressed.return?.();
  }
  // Bytes behind the end of what was decompressed still belong to the digest.
  await drain(compressed);
  const found = `${digestAlgorithm(layer.diffId)}:${hash.hex()}`;
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

async function drain(iterator: AsyncIterator<Uint8Array>): Promise<void> {
  while (!(await iterator.next()).done);
}
