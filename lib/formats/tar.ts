/**
 * A reader for tar archives as image layers use them: POSIX ustar and pax (IEEE Std 1003.1, "pax Interchange Format"), GNU's
 * long names and sparse files, and the old V7 form. It is fed chunks as they come and calls its sink at once, so an archive of
 * any size needs only the memory of its largest header.
 *
 * Everything here is written by strangers. Each length is checked before it is used, and what two readers could understand
 * differently is settled the way the kernel's and the registries' tools settle it, or refused.
 */
import { type ByteString, byteString } from "../base/byte-string.ts";
import { ACL_RECORDS } from "./posix-acl.ts";
import {
  base64,
  BLOCK,
  broken,
  checkSum,
  decimal,
  decimalText,
  differ,
  hasStrayPrefix,
  isZero,
  number,
  padding,
  paxTime,
  quote,
  untilNul,
  urlDecode,
} from "./tar-fields.ts";

export type TarEntryType = "file" | "directory" | "symlink" | "hardlink" | "character" | "block" | "fifo";

export interface TarEntry {
  type: TarEntryType;
  /** As the archive has it: not cleaned, not trusted. */
  name: ByteString;
  /** Target of a symlink, or the other name of a hardlink; else empty. */
  linkName: ByteString;
  /** Permission bits with setuid, setgid and sticky; nothing of the file's type. */
  mode: number;
  uid: number;
  gid: number;
  /** Length of the file in bytes, holes included; 0 for all that is no file. */
  size: number;
  mtime: { seconds: number; nanoseconds: number };
  major: number;
  minor: number;
  /** Extended attributes by their full name (`user.x`, `security.capability`). */
  xattrs: Map<ByteString, Uint8Array>;
  /** Access control lists that stand as text, by the attribute that they become; there only where the archive has any. */
  acls?: Map<ByteString, ByteString>;
  /** The file has holes: `data` is called with offsets that leave them out. */
  sparse: boolean;
}

export interface TarSink {
  entry(entry: TarEntry): void;
  /** A piece of the last entry's content, at `offset` of the file. The bytes are only valid during the call. */
  data(bytes: Uint8Array, offset: number): void;
  /** The last entry's content is complete. */
  entryEnd(): void;
}

/** Bounds of what is kept in memory (Go's CVE-2022-2879 and CVE-2025-58183 were their absence). */
const MAX_META = 1024 * 1024;
const MAX_SPARSE_PIECES = 65536;

type Piece = readonly [offset: number, length: number];

const enum State {
  Header,
  /** Collects the body of an extension header. */
  Meta,
  OldSparse,
  /** The map at the front of a pax sparse 1.0 file's data. */
  SparseMap,
  Data,
  Padding,
  End,
}

export class TarReader {
  readonly #sink: TarSink;
  readonly #block = new Uint8Array(BLOCK);
  #filled = 0;
  #state: State = State.Header;
  #zeroBlocks = 0;
  /** Bytes of the archive that still belong to the current entry, without padding. */
  #left = 0;
  #padding = 0;
  #meta = new Uint8Array(0);
  #metaFilled = 0;
  #metaType = "";
  /** Of the next entry: whether it has an extended header, and its records. */
  #hasPax = false;
  #pax = new Map<ByteString, Uint8Array>();
  #globalPax = new Map<ByteString, Uint8Array>();
  #paxPieces: number[] = [];
  #longName: ByteString | undefined;
  #longLink: ByteString | undefined;
  #entry: TarEntry | undefined;
  #pieces: Piece[] | undefined;
  #piece = 0;
  #pieceDone = 0;
  #offset = 0;
  #mapText = "";
  #mapNumbers: number[] = [];
  /** The two blocks of zeros at the archive's end were not both there: the caller may warn. */
  endedWithoutMark = false;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Throws `BROKEN_LAYER`; after that the reader must not be used any more. */
  push(chunk: Uint8Array): void {
    let at = 0;
    const end = chunk.length;
    while (at < end) {
      switch (this.#state) {
        case State.Header:
        case State.OldSparse:
        case State.SparseMap: {
          // Whole blocks inside the chunk are read where they lie; only one that is cut by the chunk's end is copied.
          let block: Uint8Array;
          if (this.#filled === 0 && end - at >= BLOCK) {
            block = chunk.subarray(at, at + BLOCK);
            at += BLOCK;
          } else {
            const count = Math.min(BLOCK - this.#filled, end - at);
            this.#block.set(chunk.subarray(at, at + count), this.#filled);
            this.#filled += count;
            at += count;
            if (this.#filled < BLOCK) return;
            this.#filled = 0;
            block = this.#block;
          }
          if (this.#state === State.Header) this.#header(block);
          else if (this.#state === State.OldSparse) this.#oldSparse(block, 0, 21, 504);
          else this.#sparseMap(block);
          break;
        }
        case State.Meta: {
          const count = Math.min(this.#left, end - at);
          this.#meta.set(chunk.subarray(at, at + count), this.#metaFilled);
          this.#metaFilled += count;
          this.#left -= count;
          at += count;
          if (this.#left === 0) this.#metaEnd();
          break;
        }
        case State.Data: {
          const count = Math.min(this.#left, end - at);
          this.#data(chunk, at, at + count);
          this.#left -= count;
          at += count;
          if (this.#left === 0) this.#entryEnd();
          break;
        }
        case State.Padding: {
          const count = Math.min(this.#padding, end - at);
          this.#padding -= count;
          at += count;
          if (this.#padding === 0) this.#state = State.Header;
          break;
        }
        case State.End:
          // Bytes behind the end belong to the diffID, which the caller computes; to the tree they mean nothing.
          return;
      }
    }
  }

  /** Must be called after the last chunk. Throws `BROKEN_LAYER` where the archive stops inside an entry. */
  finish(): void {
    if (this.#state === State.End) return;
    // Some writers leave the padding of the last entry away; the entry itself is whole.
    const between = this.#state === State.Padding || (this.#state === State.Header && this.#filled === 0);
    if (between && !this.#announced) {
      this.endedWithoutMark = true;
      return;
    }
    throw broken(`the archive ends in the middle of ${this.#entry ? quote(this.#entry.name) : "a header"}`);
  }

  /** An extension header stood before an entry that has not come yet. */
  get #announced(): boolean {
    return this.#hasPax || this.#longName !== undefined || this.#longLink !== undefined;
  }

  #header(block: Uint8Array): void {
    if (isZero(block)) {
      if (this.#announced) throw broken("the archive ends in the middle of a header");
      if (++this.#zeroBlocks === 2) this.#state = State.End;
      return;
    }
    if (this.#zeroBlocks > 0) {
      // One zero block and then more: GNU tar says "A lone zero block" and stops. Whoever reads on sees other files than
      // whoever stops: that difference is what an attacker wants, so nobody gets to choose.
      throw broken("an entry follows after a block of zeros, where the archive should end");
    }
    checkSum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    if (flag === "x" || flag === "g" || flag === "L" || flag === "K") {
      this.#startMeta(flag, number(block, 124, 12, "size"));
      return;
    }
    this.#startEntry(block, flag);
  }

  #startMeta(type: string, size: number): void {
    if (size < 0 || size > MAX_META) {
      throw broken(`an extension header is ${size} bytes long; at most ${MAX_META} are read`);
    }
    if (type === "x") {
      if (this.#hasPax) throw broken("two extended headers stand before one entry");
      this.#hasPax = true;
    }
    this.#metaType = type;
    this.#meta = new Uint8Array(size);
    this.#metaFilled = 0;
    this.#left = size;
    this.#padding = padding(size);
    if (size === 0) this.#metaEnd();
    else this.#state = State.Meta;
  }

  #metaEnd(): void {
    const body = this.#meta;
    this.#meta = new Uint8Array(0);
    if (this.#metaType === "L") this.#longName = untilNul(body, 0, body.length);
    else if (this.#metaType === "K") this.#longLink = untilNul(body, 0, body.length);
    else if (this.#metaType === "x") this.#paxRecords(body, this.#pax);
    else this.#globalRecords(body);
    this.#state = this.#padding > 0 ? State.Padding : State.Header;
  }

  #globalRecords(body: Uint8Array): void {
    this.#paxRecords(body, this.#globalPax);
    // They stay until the archive's end, so what is bounded for one header must be bounded for all.
    let size = 0;
    for (const [key, value] of this.#globalPax) size += key.length + value.length;
    if (size > MAX_META) throw broken(`global headers hold more than ${MAX_META} bytes`);
  }

  /** Records are `LENGTH KEY=VALUE\n`; LENGTH counts itself, and the value may hold any byte. An empty value deletes. */
  #paxRecords(body: Uint8Array, into: Map<ByteString, Uint8Array>): void {
    let at = 0;
    while (at < body.length) {
      const space = body.indexOf(0x20, at);
      const digits = space < 0 || space - at > 8 ? "" : byteString(body, at, space);
      const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
      const end = at + length;
      if (length < digits.length + 3 || end > body.length || body[end - 1] !== 0x0a) {
        // A body padded with NULs has been seen from real writers; anything else is damage.
        if (isZero(body.subarray(at))) return;
        throw broken("an extended header holds a record with a wrong length");
      }
      const equals = body.indexOf(0x3d, space);
      if (equals < 0 || equals >= end) throw broken("an extended header holds a record without a value");
      const key = byteString(body, space + 1, equals);
      // The kernel would read it to the NUL, and so take one attribute for another.
      if (key.includes("\0")) throw broken("an extended header holds a key with a NUL byte");
      const value = body.slice(equals + 1, end - 1);
      if (into === this.#pax && (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes")) {
        // Sparse 0.0 repeats these two keys; a map keeps only the last.
        if (key.endsWith("offset") !== (this.#paxPieces.length % 2 === 0)) {
          throw broken("a sparse file's offsets and lengths do not alternate");
        }
        this.#paxPieces.push(decimal(value, key));
        if (this.#paxPieces.length > 2 * MAX_SPARSE_PIECES) throw broken("a sparse file has too many pieces");
      } else into.set(key, value);
      at = end;
    }
  }

  #startEntry(block: Uint8Array, flag: string): void {
    const pax = (key: ByteString): Uint8Array | undefined => {
      const own = this.#pax.get(key);
      if (own !== undefined) return own.length > 0 ? own : undefined;
      // A global path or size would make every entry the same file.
      if (key === "path" || key === "size" || key === "linkpath" || key.startsWith("GNU.sparse.")) return undefined;
      const shared = this.#globalPax.get(key);
      return shared !== undefined && shared.length > 0 ? shared : undefined;
    };
    const paxNumber = (key: ByteString): number | undefined => {
      const value = pax(key);
      return value === undefined ? undefined : decimal(value, key);
    };
    const text = (key: ByteString): ByteString | undefined => {
      const value = pax(key);
      return value === undefined ? undefined : byteString(value);
    };

    // Not what stands behind in the version's field: neither Go nor GNU tar look at that.
    const posix = byteString(block, 257, 263) === "ustar\0";
    let headerName = untilNul(block, 0, 100);
    if ((posix || (flag !== "S" && hasStrayPrefix(block))) && block[345] !== 0) {
      headerName = `${untilNul(block, 345, 500)}/${headerName}`;
    }
    // pax over the ustar prefix; where GNU's long name stands beside pax, Go takes the one and GNU tar the other.
    const paxName = text("path"), paxLink = text("linkpath");
    if (differ(paxName, this.#longName) || differ(paxLink, this.#longLink)) {
      throw broken("an entry has two different names, and readers differ in which they take");
    }
    const name = paxName ?? this.#longName ?? headerName;
    const linkName = paxLink ?? this.#longLink ?? untilNul(block, 157, 257);

    let type: TarEntryType;
    switch (flag) {
      case "\0":
        type = name.endsWith("/") ? "directory" : "file"; // V7 had no type for directories
        break;
      case "0":
      case "7":
      case "S":
        type = "file";
        break;
      case "1":
        type = "hardlink";
        break;
      case "2":
        type = "symlink";
        break;
      case "3":
        type = "character";
        break;
      case "4":
        type = "block";
        break;
      case "5":
        type = "directory";
        break;
      case "6":
        type = "fifo";
        break;
      default:
        throw broken(`${quote(name)} is of type ${JSON.stringify(flag)}, which no layer may hold`);
    }

    // The pax size wins even over a header that says 0: whoever skips by the header reads the file's content as headers
    // (CVE-2025-62518). What carries no data has none, whatever its size field says.
    const stored = type === "file" ? paxNumber("size") ?? number(block, 124, 12, "size") : 0;
    if (stored < 0 || stored > Number.MAX_SAFE_INTEGER - BLOCK) {
      throw broken(`${quote(name)} has the impossible size ${stored}`);
    }

    const entry: TarEntry = {
      type,
      name,
      linkName: type === "symlink" || type === "hardlink" ? linkName : "",
      mode: number(block, 100, 8, "mode") & 0o7777,
      uid: paxNumber("uid") ?? number(block, 108, 8, "uid"),
      gid: paxNumber("gid") ?? number(block, 116, 8, "gid"),
      size: stored,
      mtime: paxTime(pax("mtime")) ?? { seconds: number(block, 136, 12, "mtime"), nanoseconds: 0 },
      major: 0,
      minor: 0,
      xattrs: this.#xattrs(),
      sparse: false,
    };
    for (const [record, xattr] of ACL_RECORDS) {
      const acl = text(record);
      if (acl !== undefined) (entry.acls ??= new Map()).set(xattr, acl);
    }
    if (type === "character" || type === "block") {
      entry.major = number(block, 329, 8, "device number");
      entry.minor = number(block, 337, 8, "device number");
      // Linux: 12 bits and 20.
      if (entry.major < 0 || entry.major > 0xfff || entry.minor < 0 || entry.minor > 0xfffff) {
        throw broken(`${quote(name)} has the impossible device number ${entry.major}:${entry.minor}`);
      }
    }
    for (const id of [entry.uid, entry.gid]) {
      // 2^32-1 means "no change" to chown(2): the file would keep the owner that it was made with.
      if (id < 0 || id > 0xfffffffe) throw broken(`${quote(name)} has the impossible owner ${id}`);
    }

    this.#entry = entry;
    this.#left = stored;
    this.#padding = padding(stored);
    this.#pieces = undefined;
    this.#offset = 0;
    if (type !== "file" || !this.#startSparse(block, entry, flag, posix, text, paxNumber)) {
      this.#forgetExtensions();
      this.#begin();
    }
  }

  /** True where a map follows, or has been read and the entry has begun. */
  #startSparse(
    block: Uint8Array,
    entry: TarEntry,
    flag: string,
    posix: boolean,
    text: (key: ByteString) => ByteString | undefined,
    paxNumber: (key: ByteString) => number | undefined,
  ): boolean {
    if (flag === "S") {
      // The map stands where POSIX has the name's prefix.
      if (posix) throw broken(`${quote(entry.name)} is sparse in a way that its header's format does not have`);
      this.#forgetExtensions();
      entry.size = number(block, 483, 12, "size of a sparse file");
      if (entry.size < 0) throw broken(`${quote(entry.name)} has the impossible size ${entry.size}`);
      this.#pieces = [];
      this.#oldSparse(block, 386, 4, 482);
      return true;
    }
    const pieces = this.#paxPieces, map = text("GNU.sparse.map");
    const version1 = paxNumber("GNU.sparse.major") === 1 && paxNumber("GNU.sparse.minor") === 0;
    if (!version1 && map === undefined && pieces.length === 0) return false;
    // Only here, as in Go: elsewhere the record would be a second name, which some readers take and some do not.
    entry.name = text("GNU.sparse.name") ?? entry.name;
    const realSize = paxNumber("GNU.sparse.realsize") ?? paxNumber("GNU.sparse.size");
    if (realSize === undefined) throw broken(`${quote(entry.name)} is sparse and has no size`);
    this.#forgetExtensions();
    entry.size = realSize;
    if (version1) {
      this.#mapText = "";
      this.#mapNumbers = [];
      this.#state = State.SparseMap;
    } else {
      this.#setPieces(map === undefined ? pieces : map.split(",").map((t) => decimalText(t, "GNU.sparse.map")));
      this.#begin();
    }
    return true;
  }

  #forgetExtensions(): void {
    this.#hasPax = false;
    this.#pax.clear();
    this.#paxPieces = [];
    this.#longName = this.#longLink = undefined;
  }

  #xattrs(): Map<ByteString, Uint8Array> {
    const found = new Map<ByteString, Uint8Array>();
    for (const source of [this.#globalPax, this.#pax]) {
      for (const [key, value] of source) {
        // libarchive writes both forms; SCHILY's is raw and comes from more writers, so it has the last word.
        let name: ByteString;
        if (key.startsWith("SCHILY.xattr.")) name = key.slice(13);
        else if (key.startsWith("LIBARCHIVE.xattr.")) {
          name = urlDecode(key.slice(17));
          if (name.includes("\0")) throw broken("an extended attribute's name holds a NUL byte");
          if (source.has(`SCHILY.xattr.${name}`)) continue;
        } else continue;
        // Empty takes it back, as with any record: an attribute of no bytes cannot be written this way.
        if (value.length === 0) found.delete(name);
        else found.set(name, key.startsWith("S") ? value : base64(value, name));
      }
    }
    return found;
  }

  /** GNU's old sparse map: `count` pairs at `at`, and at `more` whether another block of them follows. */
  #oldSparse(block: Uint8Array, at: number, count: number, more: number): void {
    const pieces = this.#pieces ?? [];
    for (let i = 0; i < count; i++, at += 24) {
      if (block[at] === 0) break;
      pieces.push([number(block, at, 12, "sparse offset"), number(block, at + 12, 12, "sparse length")]);
      if (pieces.length > MAX_SPARSE_PIECES) throw broken("a sparse file has too many pieces");
    }
    this.#pieces = pieces;
    if (block[more] !== 0) {
      this.#state = State.OldSparse;
      return;
    }
    this.#setPieces(pieces.flat());
    this.#begin();
  }

  /** Sparse 1.0: decimal lines before the data, padded to a block: count, then offset and length of each piece. */
  #sparseMap(block: Uint8Array): void {
    if (this.#left < BLOCK) throw broken("the map of a sparse file is longer than its data");
    this.#left -= BLOCK;
    this.#mapText += byteString(block);
    let newline;
    while ((newline = this.#mapText.indexOf("\n")) >= 0) {
      this.#mapNumbers.push(decimalText(this.#mapText.slice(0, newline), "sparse map"));
      this.#mapText = this.#mapText.slice(newline + 1);
      const [count = 0] = this.#mapNumbers;
      if (count > MAX_SPARSE_PIECES) throw broken("a sparse file has too many pieces");
      if (this.#mapNumbers.length === 1 + 2 * count) {
        this.#setPieces(this.#mapNumbers.slice(1));
        this.#begin();
        return;
      }
    }
    if (this.#mapText.length > 32) throw broken("the map of a sparse file is no list of numbers");
  }

  #setPieces(numbers: readonly number[]): void {
    const entry = this.#current();
    if (numbers.length % 2 !== 0 || numbers.length > 2 * MAX_SPARSE_PIECES) {
      throw broken(`${quote(entry.name)} has an incomplete sparse map`);
    }
    const pieces: Piece[] = [];
    let end = 0, sum = 0;
    for (let i = 0; i < numbers.length; i += 2) {
      const offset = numbers[i] ?? 0, length = numbers[i + 1] ?? 0;
      if (length < 0 || offset < end || offset + length > entry.size) {
        throw broken(`${quote(entry.name)} has a sparse map that overlaps or leads behind its end`);
      }
      end = offset + length;
      sum += length;
      if (length > 0) pieces.push([offset, length]);
    }
    if (sum !== this.#left) {
      throw broken(`${quote(entry.name)} has a sparse map of ${sum} bytes and data of ${this.#left}`);
    }
    entry.sparse = true;
    this.#pieces = pieces;
    this.#piece = this.#pieceDone = 0;
  }

  #begin(): void {
    this.#sink.entry(this.#current());
    if (this.#left === 0) this.#entryEnd();
    else this.#state = State.Data;
  }

  #data(chunk: Uint8Array, start: number, end: number): void {
    if (this.#pieces === undefined) {
      this.#sink.data(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end), this.#offset);
      this.#offset += end - start;
      return;
    }
    while (start < end) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) throw broken("a sparse file has more data than its map says");
      const count = Math.min(end - start, piece[1] - this.#pieceDone);
      this.#sink.data(chunk.subarray(start, start + count), piece[0] + this.#pieceDone);
      this.#pieceDone += count;
      start += count;
      if (this.#pieceDone === piece[1]) {
        this.#piece++;
        this.#pieceDone = 0;
      }
    }
  }

  #entryEnd(): void {
    this.#sink.entryEnd();
    this.#entry = undefined;
    this.#state = this.#padding > 0 ? State.Padding : State.Header;
  }

  #current(): TarEntry {
    if (this.#entry === undefined) throw new Error("no entry is being read");
    return this.#entry;
  }
}
