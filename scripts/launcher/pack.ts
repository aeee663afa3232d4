/**
 * Packs the static file: the launcher, and behind it everything it starts. What the file looks like is told by
 * launcher.c, which reads the table that is written here.
 *
 *     deno run -A scripts/launcher/pack.ts --launcher FILE --runtime FILE --libraries DIRECTORY
 *       --program FILE [--texts DIRECTORY] --output FILE
 *
 * The runtime's own ELF headers say which loader and which libraries go in, so that none is forgotten when a new
 * version of Deno needs another one. The same inputs give the same bytes.
 */

import { BUNDLE, programOf } from "./program.ts";
import { MAGIC, MEMBER_BYTES, NAME_BYTES, TRAILER_BYTES } from "./table.ts";

/** What a part is for; the numbers of `enum kind` in launcher.c. */
const KIND = { loader: 1, runtime: 2, program: 3, library: 4, text: 5 } as const;

/** The launcher maps parts of its file, so each starts on a page: 64 KiB is the largest page of 64-bit Arm. */
const ALIGNMENT = 65536;

export interface Part {
  name: string;
  kind: keyof typeof KIND;
  content: Uint8Array;
}

/** What the headers of an ELF file say about what it needs. */
export interface ElfNeeds {
  /** The file name of the loader it asks for, if it is an executable. */
  loader?: string;
  /** The sonames of the libraries it is linked to, in their order. */
  libraries: string[];
}

const ELF_MAGIC = 0x7f454c46;
const PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3;
const DT_NULL = 0, DT_NEEDED = 1, DT_STRTAB = 5;

/** Reads a 64-bit little-endian ELF file's program headers and dynamic section (ELF-64 Object File Format 1.5). */
export function readElfNeeds(file: Uint8Array): ElfNeeds {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== ELF_MAGIC || view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    throw new Error("not a 64-bit little-endian ELF file");
  }
  const number = (offset: number) => Number(view.getBigUint64(offset, true));
  const text = (offset: number) => new TextDecoder().decode(file.subarray(offset, file.indexOf(0, offset)));
  const segments = Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = number(32) + i * view.getUint16(54, true);
    return {
      type: view.getUint32(at, true),
      offset: number(at + 8),
      address: number(at + 16),
      size: number(at + 32),
    };
  });
  const offsetOf = (address: number) => {
    const segment = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + s.size);
    if (!segment) throw new Error(`no segment holds the address 0x${address.toString(16)}`);
    return segment.offset + address - segment.address;
  };

  const entries: [tag: number, value: number][] = [];
  const dynamic = segments.find((s) => s.type === PT_DYNAMIC);
  for (let at = dynamic?.offset ?? file.length; at < (dynamic ? dynamic.offset + dynamic.size : 0); at += 16) {
    if (number(at) === DT_NULL) break;
    entries.push([number(at), number(at + 8)]);
  }
  const names = entries.find(([tag]) => tag === DT_STRTAB)?.[1];
  const libraries = names === undefined
    ? []
    : entries.filter(([tag]) => tag === DT_NEEDED).map(([, value]) => text(offsetOf(names) + value));
  const interpreter = segments.find((s) => s.type === PT_INTERP);
  return interpreter ? { loader: text(interpreter.offset).split("/").pop()!, libraries } : { libraries };
}

/** The runtime, its loader, and every library that it or one of its libraries needs. */
async function runtimeParts(runtimePath: string, directory: string): Promise<Part[]> {
  const content = await Deno.readFile(runtimePath);
  const { loader, libraries } = readElfNeeds(content);
  if (!loader) throw new Error(`"${runtimePath}" asks for no loader: it is not a dynamically linked executable`);
  const parts: Part[] = [
    { name: loader, kind: "loader", content: withoutSystemPreloads(await Deno.readFile(`${directory}/${loader}`)) },
    { name: "deno", kind: "runtime", content },
  ];
  const wanted = [...libraries];
  for (const name of wanted) {
    if (name === loader) continue;
    const library = await Deno.readFile(`${directory}/${name}`);
    parts.push({ name, kind: "library", content: library });
    for (const needed of readElfNeeds(library).libraries) if (!wanted.includes(needed)) wanted.push(needed);
  }
  return parts;
}

/**
 * glibc's loader also preloads what the machine's /etc/ld.so.preload names: libraries that are made for the machine's
 * own C library, which is another one than ours, and whose failing it reports on standard error. A static executable
 * would not read that file, so the path is emptied.
 */
function withoutSystemPreloads(loader: Uint8Array<ArrayBuffer>): Uint8Array {
  const path = new TextEncoder().encode("\0/etc/ld.so.preload\0");
  const places: number[] = [];
  for (let at = loader.indexOf(0); at >= 0; at = loader.indexOf(0, at + 1)) {
    if (path.every((byte, i) => loader[at + i] === byte)) places.push(at);
  }
  if (places.length !== 1) {
    throw new Error(`the loader names /etc/ld.so.preload ${places.length} times instead of once`);
  }
  const changed = loader.slice();
  changed[places[0]! + 1] = 0;
  return changed;
}

/** Lays the parts out behind the launcher, each on a page, and the table behind them. */
export function layOut(launcher: Uint8Array, parts: Part[]): { offset: number; content: Uint8Array }[] {
  const pieces = [{ offset: 0, content: launcher }];
  const table = new Uint8Array(parts.length * MEMBER_BYTES + TRAILER_BYTES);
  const view = new DataView(table.buffer);
  let end = launcher.length;
  parts.forEach(({ name, kind, content }, i) => {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    const at = i * MEMBER_BYTES;
    const { written } = new TextEncoder().encodeInto(name, table.subarray(at, at + NAME_BYTES - 1));
    if (written !== name.length) throw new Error(`the name of a part is too long or not ASCII: "${name}"`);
    view.setBigUint64(at + NAME_BYTES, BigInt(KIND[kind]), true);
    view.setBigUint64(at + NAME_BYTES + 8, BigInt(offset), true);
    view.setBigUint64(at + NAME_BYTES + 16, BigInt(content.length), true);
    pieces.push({ offset, content });
    end = offset + content.length;
  });
  const trailer = parts.length * MEMBER_BYTES;
  end = Math.ceil(end / 8) * 8;
  view.setBigUint64(trailer, BigInt(parts.length), true);
  view.setBigUint64(trailer + 8, BigInt(end + table.length), true);
  new TextEncoder().encodeInto(MAGIC, table.subarray(trailer + 16));
  pieces.push({ offset: end, content: table });
  return pieces;
}

/** Writes beside the output and renames, so that an interrupted run, or one beside another, leaves no half a file. */
async function write(path: string, pieces: { offset: number; content: Uint8Array }[]): Promise<void> {
  const unfinished = await Deno.makeTempFile({ dir: path.replace(/[^/]*$/, "") || ".", prefix: ".cos-" });
  try {
    using file = await Deno.open(unfinished, { write: true });
    for (const { offset, content } of pieces) {
      await file.seek(offset, Deno.SeekMode.Start);
      for (let rest = content; rest.length > 0;) rest = rest.subarray(await file.write(rest));
    }
    await Deno.chmod(unfinished, 0o755);
    await Deno.rename(unfinished, path);
  } catch (error) {
    await Deno.remove(unfinished).catch(() => {});
    throw error;
  }
}

function readOptions(words: string[]) {
  const options = new Map<string, string>();
  for (let i = 0; i < words.length; i += 2) options.set(words[i]!, words[i + 1] ?? "");
  const option = (name: string) => {
    const value = options.get(`--${name}`);
    if (!value) throw new Error(`--${name} is missing`);
    return value;
  };
  return {
    launcher: option("launcher"),
    runtime: option("runtime"),
    libraries: option("libraries"),
    program: option("program"),
    texts: options.get("--texts"),
    output: option("output"),
  };
}

if (import.meta.main) {
  const options = readOptions(Deno.args);
  const { source, text } = programOf(await Deno.readTextFile(options.program));
  if (text === undefined) {
    console.error(`pack: "${options.program}" is packed as a module, which starts slower (program.ts tells why)`);
  }
  const encoder = new TextEncoder();
  const parts = await runtimeParts(options.runtime, options.libraries);
  parts.push({ name: "start.js", kind: "program", content: encoder.encode(source) });
  if (text !== undefined) parts.push({ name: BUNDLE, kind: "text", content: encoder.encode(text) });
  const texts = options.texts === undefined ? [] : [...Deno.readDirSync(options.texts)].map(({ name }) => name).sort();
  for (const name of texts) {
    parts.push({ name, kind: "text", content: await Deno.readFile(`${options.texts}/${name}`) });
  }
  await write(options.output, layOut(await Deno.readFile(options.launcher), parts));
}
