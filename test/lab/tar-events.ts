/** Reads an archive with the program's reader, in pieces of every awkward size, and says what came out. */
import assert from "node:assert/strict";
import { CosError } from "../../lib/base/errors.ts";
import { type TarEntry, TarReader } from "../../lib/formats/tar.ts";
import { concat } from "./tar-writer.ts";

export interface ReadEntry extends TarEntry {
  /** What `data` brought, pieces that follow one another joined: `[offset, text as Latin-1]`. */
  pieces: [offset: number, text: string][];
}

export interface Archive {
  entries: ReadEntry[];
  endedWithoutMark: boolean;
}

/** 0 is the whole archive at once. */
const PIECES = [0, 1, 511, 512, 513, 7000];

/** Reads it in every way; they must agree, in their errors too. */
export function readTar(archive: Uint8Array): Archive {
  const [first, ...others] = PIECES.map((size) => outcome(archive, size));
  for (const [i, other] of others.entries()) {
    assert.deepEqual(other, first, `in pieces of ${PIECES[i + 1]} bytes another archive is read`);
  }
  if (first instanceof Error) throw first;
  assert.ok(first !== undefined);
  return first;
}

export function readEntries(archive: Uint8Array): ReadEntry[] {
  return readTar(archive).entries;
}

function outcome(archive: Uint8Array, size: number): Archive | CosError {
  try {
    return readInPieces(archive, size);
  } catch (thrown) {
    if (thrown instanceof CosError) return thrown;
    throw thrown;
  }
}

export function readInPieces(archive: Uint8Array, size: number): Archive {
  const entries: ReadEntry[] = [];
  let open: { entry: ReadEntry; data: { offset: number; end: number; parts: Uint8Array[] }[] } | undefined;
  const reader = new TarReader({
    entry(entry) {
      assert.equal(open, undefined, "an entry began inside another");
      open = { entry: { ...entry, pieces: [] }, data: [] };
    },
    data(bytes, offset) {
      assert.ok(open !== undefined && bytes.length > 0);
      const last = open.data.at(-1), copy = bytes.slice(); // only valid during the call
      if (last?.end === offset) {
        last.parts.push(copy);
        last.end += copy.length;
      } else open.data.push({ offset, end: offset + copy.length, parts: [copy] });
    },
    entryEnd() {
      assert.ok(open !== undefined);
      open.entry.pieces = open.data.map(({ offset, parts }) => [offset, latin1(concat(parts))]);
      entries.push(open.entry);
      open = undefined;
    },
  });
  const step = size === 0 ? Math.max(archive.length, 1) : size;
  for (let at = 0; at < archive.length; at += step) {
    // A copy that is spoilt behind the call: the reader must not keep what it was only lent.
    const piece = archive.slice(at, at + step);
    reader.push(piece);
    piece.fill(0xaa);
  }
  reader.finish();
  assert.equal(open, undefined, "the archive ended inside an entry");
  return { entries, endedWithoutMark: reader.endedWithoutMark };
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** An entry with what most tests do not care about. */
export function entryOf(entry: Partial<ReadEntry>): ReadEntry {
  return {
    type: "file",
    name: "",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    major: 0,
    minor: 0,
    xattrs: new Map(),
    sparse: false,
    pieces: [],
    ...entry,
  };
}
