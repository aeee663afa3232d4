/** Hashing and decompressing. The runtime's modules for it are loaded when they are used: each costs 20–30 ms at start. */
import type { DigestAlgorithm } from "../base/digest.ts";

export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hex; the hasher must not be used after it. */
  hex(): string;
}

export async function hasher(algorithm: DigestAlgorithm): Promise<Hasher> {
  const { createHash } = await import("node:crypto");
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** `crc32(bytes, start)` of zlib: the checksum of what `start` covers with `bytes` behind it. */
export async function crc32(): Promise<(bytes: Uint8Array, start: number) => number> {
  const zlib = await import("node:zlib");
  return (bytes, start) => zlib.crc32(bytes, start);
}

/** What is written to it comes out decompressed. It works on the thread that it is made on, in turns with the rest. */
export interface Decoder extends AsyncIterable<Uint8Array> {
  /** Resolves when more may be written. */
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  destroy(reason: Error): void;
}

/** The size of the pieces that come out, in bytes: larger ones cost less a byte, up to about here. */
const PIECE = 256 * 1024;

/** Gzip, of any number of members (RFC 1952). Truncation and trailing rubbish are errors. */
export async function gunzip(): Promise<Decoder> {
  const zlib = await import("node:zlib");
  return decoder(zlib.createGunzip({ chunkSize: PIECE }));
}

/** One zstd frame; see `ZstdFrameWalker` for why only one. */
export async function unzstd(): Promise<Decoder> {
  const zlib = await import("node:zlib");
  return decoder(zlib.createZstdDecompress({ chunkSize: PIECE }));
}

/** A whole small frame at once: `size` bytes will come out. */
export async function unzstdSync(): Promise<(bytes: Uint8Array) => Uint8Array> {
  const zlib = await import("node:zlib");
  return (bytes) => zlib.zstdDecompressSync(bytes);
}

interface NodeTransform extends AsyncIterable<Uint8Array> {
  write(bytes: Uint8Array): boolean;
  end(): void;
  destroy(reason: Error): void;
  once(event: "drain" | "close" | "error", listener: () => void): void;
  off(event: "drain" | "close" | "error", listener: () => void): void;
  readonly destroyed: boolean;
}

function decoder(stream: NodeTransform): Decoder {
  return {
    write(bytes) {
      if (stream.destroyed || stream.write(bytes)) return Promise.resolve();
      return new Promise((resolve) => {
        // A stream that fails never drains: the reader gets its error, and the writer must not wait for ever.
        const done = () => {
          for (const event of ["drain", "close", "error"] as const) stream.off(event, done);
          resolve();
        };
        for (const event of ["drain", "close", "error"] as const) stream.once(event, done);
      });
    },
    end: () => {
      if (!stream.destroyed) stream.end();
    },
    destroy: (reason) => stream.destroy(reason),
    [Symbol.asyncIterator]: () => stream[Symbol.asyncIterator](),
  };
}
