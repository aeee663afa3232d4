/**
 * A tar writer for tests: it makes every kind of entry a layer can hold, the odd and the broken ones included, and
 * always the same bytes for the same input. It shares nothing with the program's reader, so that a misunderstanding
 * in one is not repeated by the other.
 *
 * Formats: POSIX.1-2017 `pax` (section "pax Interchange Format"), ustar, and GNU tar's own (`info tar`, "Basic Tar
 * Format").
 */

/** Text is written as UTF-8; bytes are written as they are, so names need not be UTF-8. */
export type Bytes = string | Uint8Array;

/** Each format's way with what does not fit: pax adds records, gnu adds L/K entries and base-256, ustar throws. */
export type TarFormat = "pax" | "gnu" | "ustar";

/** The fields of a header block by name; `tail` is everything from `prefix` on (GNU keeps sparse maps there). */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
  uname: [265, 32],
  gname: [297, 32],
  devmajor: [329, 8],
  devminor: [337, 8],
  prefix: [345, 155],
  tail: [345, 167],
} as const satisfies Record<string, readonly [number, number]>;

export type HeaderField = keyof typeof FIELDS;

export interface Attributes {
  mode?: number;
  uid?: number;
  gid?: number;
  uname?: string;
  gname?: string;
  /** Whole seconds, or a decimal as text (`"1700000000.123456789"`, `"-1.5"`): a number cannot hold nanoseconds. */
  mtime?: number | string;
  /** Written as `SCHILY.xattr.NAME` records, in the order given. */
  xattrs?: Record<string, Bytes>;
  format?: TarFormat;
  /** Numeric fields that are written in base-256 whether they need it or not. */
  base256?: ("uid" | "gid" | "size" | "mtime" | "devmajor" | "devminor")[];
  /** More pax records, after those that the entry needs; a later record for a key wins in readers. */
  pax?: [key: string, value: Bytes][];
  /** Replaces the body of the pax header as a whole, for malformed ones. */
  paxBody?: Bytes;
  /** Fields written over the finished header, as they are; without `checksum` among them the sum is right for the result. */
  raw?: Partial<Record<HeaderField, Bytes>>;
  /** What the header says instead of the content's length. */
  claimedSize?: number;
}

export interface TarEntry extends Attributes {
  name: Bytes;
  /** One character: `0` file, `1` hardlink, `2` symlink, `3` char, `4` block, `5` directory, `6` fifo, any other as it is. */
  typeflag: string;
  content?: Bytes;
  linkname?: Bytes;
  device?: { major: number; minor: number };
}

/** An entry, or bytes that stand between entries as they are. */
export type TarItem = TarEntry | Uint8Array;

export interface ArchiveOptions {
  /** Zero blocks at the end: 2 by the standard; 0 or 1 for archives that were cut or written carelessly. */
  endBlocks?: number;
  /** Bytes behind the end: part of the layer's diffID, and of no entry. */
  trailing?: Bytes;
}

const BLOCK = 512;

export function file(name: Bytes, content: Bytes = "", attributes: Attributes = {}): TarEntry {
  return { mode: 0o644, ...attributes, name, typeflag: "0", content };
}

/** A directory; tools write its name with a slash at the end, and so does this. */
export function directory(name: Bytes, attributes: Attributes = {}): TarEntry {
  const path = bytesOf(name);
  return {
    mode: 0o755,
    ...attributes,
    name: path.at(-1) === 0x2f ? path : concat([path, bytesOf("/")]),
    typeflag: "5",
  };
}

export function symlink(name: Bytes, target: Bytes, attributes: Attributes = {}): TarEntry {
  return { mode: 0o777, ...attributes, name, typeflag: "2", linkname: target };
}

/** A second name for `target`, which is a path from the archive's root. */
export function hardlink(name: Bytes, target: Bytes, attributes: Attributes = {}): TarEntry {
  return { mode: 0o644, ...attributes, name, typeflag: "1", linkname: target };
}

export function charDevice(name: Bytes, major: number, minor: number, attributes: Attributes = {}): TarEntry {
  return { mode: 0o600, ...attributes, name, typeflag: "3", device: { major, minor } };
}

export function blockDevice(name: Bytes, major: number, minor: number, attributes: Attributes = {}): TarEntry {
  return { mode: 0o600, ...attributes, name, typeflag: "4", device: { major, minor } };
}

export function fifo(name: Bytes, attributes: Attributes = {}): TarEntry {
  return { mode: 0o644, ...attributes, name, typeflag: "6" };
}

/** Hides `path` of the lower layers (OCI image-spec, layer.md, "Whiteouts"). */
export function whiteout(path: string, attributes: Attributes = {}): TarEntry {
  const slash = path.lastIndexOf("/") + 1;
  return file(`${path.slice(0, slash)}.wh.${path.slice(slash)}`, "", attributes);
}

/** Hides what the lower layers hold in the directory `path` (layer.md, "Opaque Whiteout"). */
export function opaque(path: string, attributes: Attributes = {}): TarEntry {
  return file(path === "" ? ".wh..wh..opq" : `${path.replace(/\/$/, "")}/.wh..wh..opq`, "", attributes);
}

/** A global pax header (typeflag `g`): its records hold for all entries behind it. */
export function globalHeader(records: [key: string, value: Bytes][]): TarEntry {
  return { name: "pax_global_header", typeflag: "g", mode: 0o644, content: paxBody(records), format: "ustar" };
}

/** The whole archive as bytes. */
export function tar(items: TarItem[], options: ArchiveOptions = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const item of items) parts.push(...(item instanceof Uint8Array ? [item] : encodeEntry(item)));
  parts.push(new Uint8Array(BLOCK * (options.endBlocks ?? 2)));
  if (options.trailing !== undefined) parts.push(bytesOf(options.trailing));
  return concat(parts);
}

/** The body of a pax header: `LENGTH KEY=VALUE\n` each, where LENGTH counts itself. */
export function paxBody(records: [key: string, value: Bytes][]): Uint8Array {
  return concat(records.map(([key, value]) => {
    const rest = concat([bytesOf(` ${key}=`), bytesOf(value), bytesOf("\n")]);
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
    return concat([bytesOf(String(length)), rest]);
  }));
}

function encodeEntry(entry: TarEntry): Uint8Array[] {
  const format = entry.format ?? "pax";
  const records: [string, Bytes][] = [];
  const before: Uint8Array[] = [];
  const content = bytesOf(entry.content ?? "");
  const header = new Uint8Array(BLOCK);

  const put = (field: HeaderField, value: Bytes) => putField(header, field, value);
  /** Puts a number in octal where it fits, else in the way of the format. */
  const number = (
    field: keyof typeof FIELDS & ("mode" | "uid" | "gid" | "size" | "devmajor" | "devminor"),
    n: number,
  ) => {
    const octalDigits = FIELDS[field][1] - 1;
    const fits = n >= 0 && n < 8 ** octalDigits;
    const wantsBinary = field !== "mode" && entry.base256?.includes(field);
    if (fits && !wantsBinary) return put(field, octal(n, octalDigits));
    if (wantsBinary || format === "gnu") return put(field, base256(n, FIELDS[field][1]));
    if (format === "ustar" || field === "mode" || field.startsWith("dev")) {
      throw new RangeError(`Cannot write ${field} ${n} in a ${format} header`);
    }
    records.push([field, String(n)]);
    put(field, octal(0, octalDigits));
  };

  const name = bytesOf(entry.name);
  const split = format === "gnu" ? undefined : splitName(name);
  if (name.length <= 100) put("name", name);
  else if (split !== undefined) {
    put("prefix", split.prefix);
    put("name", split.name);
  } else {
    if (format === "ustar") throw new RangeError("Cannot write a name this long in a ustar header");
    if (format === "gnu") before.push(...longName("L", name));
    else records.push(["path", name]);
    put("name", name.subarray(0, 100));
  }

  const linkname = bytesOf(entry.linkname ?? "");
  if (linkname.length > 100) {
    if (format === "ustar") throw new RangeError("Cannot write a link target this long in a ustar header");
    if (format === "gnu") before.push(...longName("K", linkname));
    else records.push(["linkpath", linkname]);
  }
  put("linkname", linkname.subarray(0, 100));

  number("mode", entry.mode ?? 0o644);
  number("uid", entry.uid ?? 0);
  number("gid", entry.gid ?? 0);
  number("size", entry.claimedSize ?? content.length);

  const mtime = String(entry.mtime ?? 0);
  const seconds = Math.floor(Number(mtime));
  if (entry.base256?.includes("mtime")) put("mtime", base256(seconds, 12));
  else if (seconds >= 0 && seconds < 8 ** 11) put("mtime", octal(seconds, 11));
  else if (format === "gnu") put("mtime", base256(seconds, 12));
  else put("mtime", octal(0, 11));
  if (format === "pax" && (/\D/.test(mtime) || seconds >= 8 ** 11)) records.push(["mtime", mtime]);

  put("typeflag", entry.typeflag);
  put("magic", format === "gnu" ? "ustar  \0" : "ustar\0" + "00");
  put("uname", entry.uname ?? "");
  put("gname", entry.gname ?? "");
  if (entry.device !== undefined) {
    number("devmajor", entry.device.major);
    number("devminor", entry.device.minor);
  }

  for (const [key, value] of Object.entries(entry.xattrs ?? {})) records.push([`SCHILY.xattr.${key}`, value]);
  records.push(...(entry.pax ?? []));
  if (records.length > 0 && format !== "pax") throw new RangeError(`Cannot write pax records in ${format} format`);

  for (const [field, value] of Object.entries(entry.raw ?? {})) put(field as HeaderField, value);
  if (entry.raw?.checksum === undefined) seal(header);

  const paxContent = entry.paxBody !== undefined ? bytesOf(entry.paxBody) : paxBody(records);
  if (paxContent.length > 0) before.push(...extension("x", "PaxHeaders/entry", paxContent));
  return [...before, header, ...padded(content)];
}

/** ustar keeps a long name in two fields, cut at a slash; undefined where no slash stands in the right place. */
function splitName(name: Uint8Array): { prefix: Uint8Array; name: Uint8Array } | undefined {
  if (name.length <= 100) return undefined;
  for (let i = Math.min(155, name.length - 2); i > 0; i--) {
    if (name[i] === 0x2f && name.length - i - 1 <= 100) {
      return { prefix: name.subarray(0, i), name: name.subarray(i + 1) };
    }
  }
  return undefined;
}

function longName(typeflag: "L" | "K", name: Uint8Array): Uint8Array[] {
  return extension(typeflag, "././@LongLink", concat([name, new Uint8Array(1)]));
}

/** An entry whose content describes the one behind it. */
function extension(typeflag: string, name: string, content: Uint8Array): Uint8Array[] {
  const header = new Uint8Array(BLOCK);
  putField(header, "name", name);
  putField(header, "mode", octal(0o644, 7));
  putField(header, "uid", octal(0, 7));
  putField(header, "gid", octal(0, 7));
  putField(header, "size", octal(content.length, 11));
  putField(header, "mtime", octal(0, 11));
  putField(header, "typeflag", typeflag);
  putField(header, "magic", typeflag === "x" ? "ustar\0" + "00" : "ustar  \0");
  seal(header);
  return [header, ...padded(content)];
}

function putField(header: Uint8Array, field: HeaderField, value: Bytes): void {
  const [offset, length] = FIELDS[field];
  const bytes = bytesOf(value);
  if (bytes.length > length) throw new RangeError(`Cannot write ${bytes.length} bytes into the tar field ${field}`);
  header.fill(0, offset, offset + length);
  header.set(bytes, offset);
}

/** The checksum is taken with its own field as spaces, and written as six digits, NUL, space. */
function seal(header: Uint8Array): void {
  putField(header, "checksum", "        ");
  let sum = 0;
  for (const byte of header) sum += byte;
  putField(header, "checksum", `${sum.toString(8).padStart(6, "0")}\0 `);
}

function octal(n: number, digits: number): string {
  return n.toString(8).padStart(digits, "0") + "\0";
}

/** GNU's binary numbers: two's complement, big-endian, the first byte's top bit set. */
function base256(n: number, width: number): Uint8Array {
  const bytes = new Uint8Array(width);
  let rest = BigInt(n);
  for (let i = width - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = n < 0 ? 0xff : 0x80 | (bytes[0] ?? 0);
  return bytes;
}

function padded(content: Uint8Array): Uint8Array[] {
  const rest = content.length % BLOCK;
  return rest === 0 ? [content] : [content, new Uint8Array(BLOCK - rest)];
}

/** The bytes of a text as UTF-8; bytes stay what they are. */
export function bytesOf(value: Bytes): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}

/** One array out of many. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
