/** From a layer's compressed bytes to the archive and its digest: on this thread, or on one beside it (`decoder-thread.ts`). */
import type { DigestAlgorithm } from "../base/digest.ts";
import { hasher } from "../system/codecs.ts";
import { decompress } from "./decompress.ts";

/** The archive's bytes; each piece is valid until the next one is asked for. */
export interface DecodedLayer extends AsyncIterable<Uint8Array> {
  /** The digest of all bytes in lower-case hex; only behind the last of them. */
  hex(): string;
}

export interface LayerDecoder {
  /** Reading throws `BROKEN_LAYER`, and what the source throws. Each layer is read once, and one after the other. */
  decode(compressed: AsyncIterable<Uint8Array>, algorithm: DigestAlgorithm): DecodedLayer;
}

/** Does the work where it is asked to. */
export const INLINE_DECODER: LayerDecoder = {
  decode(compressed, algorithm) {
    let hex: string | undefined;
    return {
      async *[Symbol.asyncIterator]() {
        const hash = await hasher(algorithm);
        for await (const piece of decompress(compressed)) {
          hash.update(piece);
          yield piece;
        }
        hex = hash.hex();
      },
      hex: () => known(hex),
    };
  },
};

export function known(hex: string | undefined): string {
  if (hex === undefined) throw new Error("the layer has not been read to its end");
  return hex;
}
