/** The bytes of an archive in a file, in order: as they lie there, or decompressed on the way. Nothing is written anywhere. */

/** Bytes of one read of the file. */
const PIECE = 256 * 1024;

export type Decompress = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

export interface ArchiveStream extends AsyncDisposable {
  /** Of the archive's own bytes, where the next one lies. */
  readonly position: number;
  /** The next bytes, at least one and at most `most`; undefined at the end. */
  read(most: number): Promise<Uint8Array | undefined>;
  /** Goes on by `count` bytes; false where the archive ends before. */
  skip(count: number): Promise<boolean>;
}

/** A file that is the archive itself: what is passed over is not read. */
export class PlainStream implements ArchiveStream {
  #position = 0;

  constructor(readonly file: Deno.FsFile, readonly size: number) {}

  get position(): number {
    return this.#position;
  }

  async read(most: number): Promise<Uint8Array | undefined> {
    // A buffer of its own each time: the decoder may still hold the last one.
    const buffer = new Uint8Array(Math.min(most, PIECE));
    await this.file.seek(this.#position, Deno.SeekMode.Start);
    const count = await this.file.read(buffer);
    if (count === null) return undefined;
    this.#position += count;
    return buffer.subarray(0, count);
  }

  skip(count: number): Promise<boolean> {
    this.#position += count;
    return Promise.resolve(this.#position <= this.size);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.file.close();
    return Promise.resolve();
  }
}

/** A compressed file: only ever forward. */
export class DecompressedStream implements ArchiveStream {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest = new Uint8Array(0);
  #position = 0;

  constructor(readonly file: Deno.FsFile, decompress: Decompress) {
    this.#chunks = decompress(fileChunks(file))[Symbol.asyncIterator]();
  }

  get position(): number {
    return this.#position;
  }

  async read(most: number): Promise<Uint8Array | undefined> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return undefined;
      this.#rest = value as Uint8Array<ArrayBuffer>;
    }
    const bytes = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(bytes.length);
    this.#position += bytes.length;
    return bytes;
  }

  async skip(count: number): Promise<boolean> {
    for (let left = count; left > 0;) {
      const bytes = await this.read(left);
      if (bytes === undefined) return false;
      left -= bytes.length;
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
    this.file.close();
  }
}

async function* fileChunks(file: Deno.FsFile): AsyncGenerator<Uint8Array> {
  for (;;) {
    const buffer = new Uint8Array(PIECE), count = await file.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}

/** Exactly `count` bytes; fewer where the archive ends before. */
export async function readExactly(stream: ArchiveStream, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const piece = await stream.read(count - at);
    if (piece === undefined) return bytes.subarray(0, at);
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
