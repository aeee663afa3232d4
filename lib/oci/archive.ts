/**
 * A tar archive in a file, read member by member in any order, without a copy of it anywhere. One pass over its headers notes
 * where each member lies; later a member is read from there. A compressed archive is decompressed again up to the member, or
 * further on from where the last reading stopped. What members hold is proven by others: here every byte is a stranger's.
 */
import { type ByteString, byteStringOf, displayName } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { compressionOf, isReadable, KIND_BYTES } from "../formats/archive-kind.ts";
import { MAX_MANIFEST } from "../formats/manifest.ts";
import { type TarEntry, TarReader } from "../formats/tar.ts";
import { type ArchiveStream, type Decompress, DecompressedStream, PlainStream, readExactly } from "./archive-stream.ts";

const BLOCK = 512;
/** Bounds of what the notes about members may need: members, and bytes of their names. */
const MAX_MEMBERS = 100_000;
const MAX_NAMES = 16 * 1024 * 1024;
/** JSON of a compressed archive is kept, so that the archive need not be decompressed for each manifest. Bytes in all. */
const MAX_KEPT = 32 * 1024 * 1024;
/** So many links may lead to one another. */
const MAX_LINKS = 10;

export interface Member {
  /** In the archive's own bytes. */
  offset: number;
  size: number;
  /** The first bytes, up to `KIND_BYTES`. */
  start: Uint8Array;
  /** All of it, where it was small enough to be kept. */
  content?: Uint8Array;
  /** It is stored with holes, which nothing here undoes. */
  sparse: boolean;
}

type Found = Member | { link: ByteString | undefined } | undefined;

export class TarArchive {
  readonly #members = new Map<ByteString, Found>();
  /** The stream that reads a compressed archive, while nobody uses it. */
  #idle: ArchiveStream | undefined;

  private constructor(
    /** As people name it. */
    readonly name: string,
    readonly path: string,
    readonly decompress: Decompress | undefined,
  ) {}

  /** Throws `IMAGE_NOT_FOUND` where there is no such file, `BROKEN_ARCHIVE` where it is no archive. */
  static async open(name: string, path: string, decompress: Decompress, signal?: AbortSignal): Promise<TarArchive> {
    const kind = await kindOf(name, path);
    if (!isReadable(kind)) {
      throw brokenArchive(
        name,
        `it is compressed with ${kind}, which is not read here`,
        `Decompress it first: ${kind} -d FILE`,
      );
    }
    const archive = new TarArchive(name, path, kind === "none" ? undefined : decompress);
    await archive.#index(signal);
    return archive;
  }

  /** The member of that name, through links inside the archive; undefined where there is none. */
  find(name: string): Member | undefined {
    let place = normalName(byteStringOf(name));
    for (let links = 0; place !== undefined && links <= MAX_LINKS; links++) {
      const found: Found = this.#members.get(place);
      if (found === undefined || !("link" in found)) return found;
      place = found.link;
    }
    return undefined;
  }

  /** Whether anything of that name is there. */
  has(name: string): boolean {
    return this.find(name) !== undefined;
  }

  /** A small member as a whole. Throws `BROKEN_ARCHIVE` where it is longer than `most` bytes. */
  async read(name: string, member: Member, most: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (member.size > most) throw brokenArchive(this.name, `${name} is longer than ${most} bytes`);
    if (member.content !== undefined) return member.content;
    const bytes = new Uint8Array(member.size);
    let at = 0;
    for await (const piece of this.bytes(name, member, signal)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** A member's bytes; as many as its header says, or an error. */
  async *bytes(name: string, member: Member, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    if (member.sparse) {
      throw brokenArchive(this.name, `${name} is stored with holes`, "Make the archive again without tar's --sparse.");
    }
    if (member.content !== undefined) {
      yield member.content;
      return;
    }
    const stream = await this.#streamAt(member.offset, signal);
    let whole = false;
    try {
      for (let left = member.size; left > 0;) {
        signal?.throwIfAborted();
        const piece = await this.#named(() => stream.read(left));
        if (piece === undefined) throw brokenArchive(this.name, `it ends in the middle of ${name}`);
        left -= piece.length;
        yield piece;
      }
      whole = true;
    } finally {
      if (whole && this.decompress !== undefined && this.#idle === undefined) this.#idle = stream;
      else await stream[Symbol.asyncDispose]();
    }
  }

  /** Ends the reading of a compressed archive that waits for its next member. */
  async close(): Promise<void> {
    await this.#idle?.[Symbol.asyncDispose]();
    this.#idle = undefined;
  }

  async #open(): Promise<ArchiveStream> {
    const file = await Deno.open(this.path);
    if (this.decompress !== undefined) return new DecompressedStream(file, this.decompress);
    return new PlainStream(file, (await file.stat()).size);
  }

  async #streamAt(offset: number, signal?: AbortSignal): Promise<ArchiveStream> {
    let stream = this.#idle;
    this.#idle = undefined;
    if (stream !== undefined && stream.position > offset) {
      await stream[Symbol.asyncDispose]();
      stream = undefined;
    }
    stream ??= await this.#open();
    try {
      while (stream.position < offset) {
        signal?.throwIfAborted();
        // In steps, so that somebody who wants to stop does not wait for gigabytes.
        const step = Math.min(offset - stream.position, this.decompress === undefined ? Infinity : 16 * 1024 * 1024);
        const going = stream;
        if (!await this.#named(() => going.skip(step))) {
          throw brokenArchive(this.name, "it has become shorter meanwhile");
        }
      }
      return stream;
    } catch (thrown) {
      await stream[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Errors of the archive's own compression and headers name the archive. @param before words in front of the reason */
  async #named<T>(action: () => Promise<T>, before = ""): Promise<T> {
    try {
      return await action();
    } catch (thrown) {
      if (!(thrown instanceof CosError) || thrown.code !== "BROKEN_LAYER") throw thrown;
      const why = thrown.message.replace(/^Cannot [^:]*: /, "").replace(/\.$/, "");
      throw brokenArchive(this.name, before + why, undefined, thrown);
    }
  }

  async #index(signal?: AbortSignal): Promise<void> {
    await using stream = await this.#open();
    let zeroBlocks = 0, names = 0, kept = 0;
    for (let count = 0;; count++) {
      signal?.throwIfAborted();
      const found = await this.#named(
        () => nextEntry(stream),
        count === 0 && this.decompress === undefined ? "it is no tar archive: " : "",
      );
      if (found === "zeros") {
        if (++zeroBlocks === 2) break;
        continue;
      }
      if (found === undefined) break;
      // As the layers' reader has it: one block of zeros is no end that all tools agree about.
      if (zeroBlocks > 0) {
        throw brokenArchive(this.name, "an entry follows after a block of zeros, where it should end");
      }
      const { entry, sparse } = found, name = normalName(entry.name);
      names += entry.name.length + entry.linkName.length;
      if (count >= MAX_MEMBERS || names > MAX_NAMES) throw brokenArchive(this.name, "it has far too many members");
      if (entry.type !== "file") {
        if (name !== undefined) this.#members.set(name, otherMember(entry, name));
        continue;
      }
      const member: Member = { offset: stream.position, size: entry.size, start: new Uint8Array(0), sparse };
      if (!sparse) {
        const keep = this.decompress !== undefined && entry.size <= MAX_MANIFEST && kept + entry.size <= MAX_KEPT;
        kept += await this.#named(() => readStart(stream, member, keep));
        const rest = entry.size - (stream.position - member.offset);
        if (rest < 0 || !await this.#named(() => stream.skip(rest))) {
          throw brokenArchive(this.name, `it ends in the middle of ${displayName(entry.name)}`);
        }
        // The padding of the last member may be missing: the member is whole.
        await this.#named(() => stream.skip((BLOCK - entry.size % BLOCK) % BLOCK));
      }
      // Where a name stands twice, the later one counts, as in every reader of tar.
      if (name !== undefined) this.#members.set(name, member);
    }
    if (this.#members.size === 0) throw brokenArchive(this.name, "it is an empty archive");
  }
}

/** Up to the content of the next member; "zeros" for a block of zeros, undefined where the file ends between two members. */
async function nextEntry(stream: ArchiveStream): Promise<{ entry: TarEntry; sparse: boolean } | "zeros" | undefined> {
  let entry: TarEntry | undefined, ended = false;
  // A reader of its own for each: what lies between two members' headers is passed over, which no reader can be told.
  const reader = new TarReader({
    entry: (found) => entry = found,
    data: () => {},
    entryEnd: () => ended = true,
  });
  for (let blocks = 0;; blocks++) {
    const block = await readExactly(stream, BLOCK);
    if (block.length < BLOCK) {
      if (blocks === 0 && block.length === 0) return undefined;
      reader.push(block);
      reader.finish();
      return undefined;
    }
    if (blocks === 0 && block.every((byte) => byte === 0)) return "zeros";
    reader.push(block);
    // A sparse member's length in the archive is in its map: it is read to its end here.
    if (entry !== undefined && (!entry.sparse || ended)) return { entry, sparse: entry.sparse };
  }
}

/** Notes the member's first bytes, or all of it where it looks like JSON and may be kept; returns how many are kept. */
async function readStart(stream: ArchiveStream, member: Member, keep: boolean): Promise<number> {
  const start = await readExactly(stream, Math.min(member.size, KIND_BYTES));
  member.start = start;
  if (!keep || (start[0] !== 0x7b && start[0] !== 0x5b)) return 0;
  const rest = await readExactly(stream, member.size - start.length);
  if (start.length + rest.length < member.size) return 0;
  const content = new Uint8Array(member.size);
  content.set(start);
  content.set(rest, start.length);
  member.content = content;
  return member.size;
}

function otherMember({ type, linkName }: TarEntry, name: ByteString): Found {
  if (type === "hardlink") return { link: normalName(linkName) };
  if (type !== "symlink") return undefined;
  const directory = linkName.startsWith("/") ? "" : name.slice(0, Math.max(name.lastIndexOf("/"), 0));
  return { link: normalName(`${directory}/${linkName}`) };
}

/** Without empty parts and dots; undefined for what leads out of the archive. */
function normalName(name: ByteString): ByteString | undefined {
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/");
}

async function kindOf(name: string, path: string): Promise<string> {
  let info;
  try {
    // Looked at before it is opened: that would wait for somebody to write into a pipe.
    info = await Deno.stat(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) throw cause;
    throw new CosError("IMAGE_NOT_FOUND", `Cannot read ${name}: ${path} does not exist.`, {
      hint: "Check the path: it ends at the first colon.",
      cause,
    });
  }
  if (info.isDirectory) {
    throw brokenArchive(name, `${path} is a directory`, `Use oci:${path} or dir:${path} for what is unpacked.`);
  }
  if (!info.isFile) {
    throw brokenArchive(name, `${path} is no file that can be read more than once`, "Write it to a file first.");
  }
  using file = await Deno.open(path);
  const start = new Uint8Array(KIND_BYTES), count = await file.read(start);
  if (count === null) throw brokenArchive(name, "it is empty");
  return compressionOf(start.subarray(0, count));
}

export function brokenArchive(name: string, why: string, hint?: string, cause?: unknown): CosError {
  return new CosError("BROKEN_ARCHIVE", `Cannot read ${name}: ${why}.`, {
    hint: hint ?? "Copy or make the archive again, for instance with skopeo copy, podman save or docker save.",
    cause,
  });
}
