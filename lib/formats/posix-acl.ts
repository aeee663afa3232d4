/**
 * POSIX access control lists: from the text in which pax archives hold them (`SCHILY.acl.access`, star(5); written by star, GNU tar
 * and libarchive, each a little differently) to the bytes that the kernel takes as an extended attribute (acl(5);
 * linux/posix_acl_xattr.h, version 2).
 */
import type { ByteString } from "../base/byte-string.ts";

/** Where the text of an entry's list stands in a pax header, and the attribute that it becomes. */
export const ACL_RECORDS: readonly (readonly [record: ByteString, xattr: ByteString])[] = [
  ["SCHILY.acl.access", "system.posix_acl_access"],
  ["SCHILY.acl.default", "system.posix_acl_default"],
];

export interface AclEntry {
  tag: "userObject" | "user" | "groupObject" | "group" | "mask" | "other";
  /** Whom the entry names: a number, or a name that only the image's own databases know. */
  who?: number | ByteString;
  /** 4 read, 2 write, 1 execute. */
  permissions: number;
}

const TAGS = { userObject: 0x01, user: 0x02, groupObject: 0x04, group: 0x08, mask: 0x10, other: 0x20 } as const;
const VERSION = 2;
/** What stands for "nobody is named". */
const NO_ID = 0xffffffff;
/** ext4 keeps some hundred; more is no list that could be set. */
const MOST = 8192;

/**
 * Entries are parted by commas or lines: `user:NAME:rwx`, with the numeric id behind where star and libarchive wrote it. Words may
 * be short (`u`), a default list may say so in front of each entry, and comments begin with `#`. Undefined for what is no list.
 */
export function parseAcl(text: ByteString): AclEntry[] | undefined {
  const entries: AclEntry[] = [];
  for (const part of text.split(/[,\n]/)) {
    const entry = part.replace(/#.*$/, "").trim();
    if (entry === "") continue;
    if (entries.length === MOST) return undefined;
    const parsed = parseEntry(entry.replace(/^d(?:efault)?:/, "").split(":").map((field) => field.trim()));
    if (parsed === undefined) return undefined;
    entries.push(parsed);
  }
  return entries.length > 0 ? entries : undefined;
}

function parseEntry(fields: string[]): AclEntry | undefined {
  const [word = ""] = fields;
  // `mask:rwx` and `other:rwx` may leave the empty field out.
  if (fields.length === 2 && /^(?:m|mask|o|other)$/.test(word)) fields = [word, "", fields[1] ?? ""];
  const [, name = "", rights = "", id = ""] = fields;
  if (fields.length < 3 || fields.length > 4 || !/^[rwx-]{1,3}$/.test(rights)) return undefined;
  const permissions = (rights.includes("r") ? 4 : 0) + (rights.includes("w") ? 2 : 0) + (rights.includes("x") ? 1 : 0);
  // The number is what the file had; the name is what it was called on the machine that wrote the archive.
  const numeric = /^[0-9]{1,10}$/.test(id) ? id : /^[0-9]{1,10}$/.test(name) ? name : undefined;
  if (numeric !== undefined && Number(numeric) >= NO_ID) return undefined;
  if (id !== "" && numeric !== id) return undefined;
  const who = numeric === undefined ? name : Number(numeric);
  switch (word) {
    case "u":
    case "user":
      return who === "" ? { tag: "userObject", permissions } : { tag: "user", who, permissions };
    case "g":
    case "group":
      return who === "" ? { tag: "groupObject", permissions } : { tag: "group", who, permissions };
    case "m":
    case "mask":
      return who === "" ? { tag: "mask", permissions } : undefined;
    case "o":
    case "other":
      return who === "" ? { tag: "other", permissions } : undefined;
    default:
      return undefined;
  }
}

/** @param entries whose names are numbers. */
export function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const sorted = entries.map(({ tag, who, permissions }) => {
    if (typeof who === "string") throw new Error("a name in a list of access rights has no number");
    return { tag: TAGS[tag], id: who ?? NO_ID, permissions };
  });
  // The kernel refuses a list in another order.
  sorted.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const bytes = new Uint8Array(4 + 8 * sorted.length), view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION, true);
  for (const [i, { tag, id, permissions }] of sorted.entries()) {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  }
  return bytes;
}

/** Numbers by name, of /etc/passwd or /etc/group: `NAME:PASSWORD:NUMBER:…` a line. The first of a name counts, as in getpwnam(3). */
export function parseIds(text: ByteString): Map<ByteString, number> {
  const ids = new Map<ByteString, number>();
  for (const line of text.split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (name === "" || !/^[0-9]{1,10}$/.test(id) || Number(id) >= NO_ID || ids.has(name)) continue;
    ids.set(name, Number(id));
  }
  return ids;
}
