/**
 * Access control lists that an archive holds as text (SCHILY.acl.*). Most name nobody, or by numbers: those become extended attributes
 * like others. A list with names waits until the layer is complete, because the image's own /etc/passwd, which alone knows them,
 * comes late in the alphabet.
 */
import { type ByteString, byteString, displayName } from "../base/byte-string.ts";
import { type AclEntry, encodeAcl, parseAcl, parseIds } from "../formats/posix-acl.ts";
import type { TarEntry } from "../formats/tar.ts";
import type { TreeRoot } from "../system/tree-root.ts";
import { broken } from "./errors.ts";

/** Real images have a handful of such lists. Bytes, about. */
const MOST = 16 * 1024 * 1024;
/** Nobody reads more. */
const MAX_WARNINGS = 20;
/** Bytes of /etc/passwd or /etc/group that are read. */
const MAX_DATABASE = 4 * 1024 * 1024;

export interface NamedList {
  xattr: ByteString;
  entries: AclEntry[];
}

interface Waiting {
  ino: number;
  lists: readonly NamedList[];
}

export class AccessLists {
  readonly #warn: (text: string) => void;
  #waiting = new Map<ByteString, Waiting>();
  #size = 0;
  #warned = new Set<string>();

  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** Adds the lists that need no name to the entry's attributes; gives the others. An attribute said in bytes beats the text. */
  prepare(entry: TarEntry, path: ByteString): NamedList[] {
    const named: NamedList[] = [];
    // Links have no access rights of their own; what a hardlink leads to has its entry's.
    if (entry.acls === undefined || entry.type === "symlink" || entry.type === "hardlink") return named;
    for (const [xattr, text] of entry.acls) {
      if (entry.xattrs.has(xattr)) continue;
      const entries = parseAcl(text);
      if (entries === undefined) {
        this.#warnOnce(`Left out the access rights of ${quote(path)}: ${quote(text.slice(0, 80))} is no list of them.`);
      } else if (entries.some(({ who }) => typeof who === "string")) named.push({ xattr, entries });
      else entry.xattrs.set(xattr, encodeAcl(entries));
    }
    return named;
  }

  /** The file at `path` with the inode `ino` gets the lists when their names can be looked up. */
  wait(path: ByteString, ino: number, lists: readonly NamedList[]): void {
    for (const { entries } of lists) this.#size += path.length + 100 * entries.length;
    if (this.#size > MOST) throw broken("it has too many lists of access rights");
    this.#waiting.set(path, { ino, lists });
  }

  /** Another entry has the name now, and may have got the same inode. */
  forget(path: ByteString): void {
    if (this.#waiting.size > 0) this.#waiting.delete(path);
  }

  /** All that wait, with the names of the image at `root` in their place. */
  *take(root: TreeRoot): Generator<{ path: ByteString; ino: number; xattr: ByteString; value: Uint8Array }> {
    const waiting = this.#waiting;
    if (waiting.size === 0) return;
    this.#waiting = new Map();
    this.#size = 0;
    const users = database(root, "etc/passwd"), groups = database(root, "etc/group");
    const all = [...waiting].flatMap(([path, { ino, lists }]) => lists.map((list) => ({ path, ino, ...list })));
    for (const { path, ino, xattr, entries } of all) {
      const known: AclEntry[] = [];
      for (const entry of entries) {
        const who = typeof entry.who === "string" ? (entry.tag === "user" ? users : groups).get(entry.who) : entry.who;
        if (who !== undefined || entry.who === undefined) known.push({ ...entry, who });
        else {
          // Nobody of that name can come to the file; what the list says of everybody else stays.
          this.#warnOnce(
            `Left out the rights of the ${entry.tag} ${quote(String(entry.who))} at ${
              quote(path)
            }: the image has nobody of that name.`,
          );
        }
      }
      yield { path, ino, xattr, value: encodeAcl(known) };
    }
  }

  #warnOnce(text: string): void {
    if (this.#warned.size >= MAX_WARNINGS || this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#warn(text);
  }
}

function database(root: TreeRoot, path: ByteString): Map<ByteString, number> {
  const bytes = root.readFile(path, MAX_DATABASE);
  return parseIds(bytes === undefined ? "" : byteString(bytes));
}

function quote(name: ByteString): string {
  return JSON.stringify(displayName(name));
}
