/**
 * Makes of a bundle the program that the launcher starts: the same code, wrapped so that it starts faster.
 *
 * Deno parses every module a second time, with a parser of its own, to find what it imports, and keeps the result in
 * its cache directory. The static file has none, so a module of 450 KB would cost 35 ms at every start, and even a string
 * of that length in a module some. So the module is small, and reads the bundle out of the static file, as the text of a
 * function.
 *
 * Code in a function cannot contain import declarations and `import.meta`. Declarations that import built-in modules
 * become `await import(...)` at its beginning, which loads the same modules at the same moment; `import.meta` becomes
 * the argument.
 */

import { MEMBER_BYTES, NAME_BYTES, TRAILER_BYTES } from "./table.ts";

/**
 * Takes out of the environment again what the launcher set for Deno's start (launcher.c, `runtime_variables`), so that
 * neither the program nor its children see it. Runs in workers too, where it finds nothing left to do.
 */
const PRELUDE = `{
  const { env } = Deno, home = env.get("COS_SAVED_HOME");
  if (env.get("HOME") === "/proc/cos-has-no-home") home === undefined ? env.delete("HOME") : env.set("HOME", home);
  for (const name of ["COS_SAVED_HOME", "DENO_DIR", "DENO_LOG", "DENO_NO_UPDATE_CHECK", "GLIBC_TUNABLES"]) env.delete(name);
}`.replace(/\s+/g, " ");

/**
 * Defines `COS_TEXT(NAME)`, the bytes of a part of the static file, by the table at its end (pack.ts), and `COS_MODULE(NAME)`,
 * an address by which such a part can be imported.
 */
export const READER = `
globalThis.COS_TEXT = (name) => {
  using file = Deno.openSync("/proc/self/exe");
  const read = (from, length) => {
    const bytes = new Uint8Array(length);
    file.seekSync(from, 0);
    for (let at = 0, count; at < length; at += count) {
      count = file.readSync(bytes.subarray(at));
      if (!count) throw new Error("cos: its own file is cut short");
    }
    return bytes;
  };
  const number = (bytes, at) => Number(new DataView(bytes.buffer).getBigUint64(at, true));
  const end = file.seekSync(0, 2) - ${TRAILER_BYTES}, size = number(read(end, 8), 0) * ${MEMBER_BYTES};
  const table = read(end - size, size), wanted = new TextEncoder().encode(name + "\\0");
  for (let at = 0; at < size; at += ${MEMBER_BYTES}) {
    if (wanted.every((byte, i) => table[at + i] === byte)) {
      return read(number(table, at + ${NAME_BYTES + 8}), number(table, at + ${NAME_BYTES + 16}));
    }
  }
  throw new Error("cos: its own file lacks the part " + name);
};
globalThis.COS_MODULE = (name) => "data:text/javascript;base64," + COS_TEXT(name).toBase64();
`.trim().replace(/\n\s*/g, " ");

/** The part that holds the bundle. */
export const BUNDLE = "cos.js";

/** Begins a comment in a function, but not in a module; bundlers avoid it in code, so it mostly stands in a string. */
const HTML_COMMENT = /<!--|^\s*-->/m;

/** The name of the argument that stands for `import.meta`. */
const META = "COS_IMPORT_META";

/** Import declarations as bundlers print them, and `import.meta`; also where a string or a comment looks like one. */
const CANDIDATE =
  /\bimport\b(?:\s*(?<clause>[\w$\s{},*]*?)\s*\bfrom\b)?\s*(?<specifier>"node:[^"\n]+")\s*;?|\bimport\.meta\b/g;

/** What stands for a candidate: text at its place, and text at the beginning of the function. */
interface Replacement {
  start: number;
  end: number;
  inPlace: string;
  atBeginning: string;
}

const AsyncFunction = (async () => {}).constructor as new (...parametersAndBody: string[]) => unknown;

function compiles(body: string): boolean {
  try {
    new AsyncFunction(META, body);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** `a, {b as c}` and `* as d` of an import declaration as declarations of constants. */
function importExpression(clause: string, specifier: string): string {
  const loaded = `await import(${specifier})`;
  const namespace = /\*\s*as\s+([\w$]+)/.exec(clause)?.[1];
  const named = /\{([^}]*)\}/.exec(clause)?.[1];
  const byDefault = /^\s*([\w$]+)/.exec(clause)?.[1];
  const bindings = [
    ...(byDefault ? [`default:${byDefault}`] : []),
    ...(named ?? "").split(",").map((name) => name.trim()).filter(Boolean).map((name) => name.replace(/\s+as\s+/, ":")),
  ];
  const constants = [
    ...(namespace ? [`${namespace}=${loaded}`] : []),
    ...(bindings.length > 0 ? [`{${bindings.join(",")}}=${loaded}`] : []),
  ];
  return constants.length > 0 ? `const ${constants.join(",")};` : `${loaded};`;
}

function replacements(bundle: string): Replacement[] {
  return [...bundle.matchAll(CANDIDATE)].map((match) => {
    const place = { start: match.index, end: match.index + match[0].length };
    const { clause, specifier } = match.groups!;
    return specifier
      ? { ...place, inPlace: "", atBeginning: importExpression(clause ?? "", specifier) }
      : { ...place, inPlace: META, atBeginning: "" };
  });
}

function functionBody(bundle: string, changes: Replacement[]): string {
  let rest = "", from = 0;
  for (const { start, end, inPlace } of changes) {
    rest += bundle.slice(from, start) + inPlace;
    from = end;
  }
  return `"use strict";${changes.map((c) => c.atBeginning).join("")}${rest}${bundle.slice(from)}`;
}

/**
 * The module to pack, and the text that it reads from the part `cos.js`. The text is undefined where the bundle could not be
 * wrapped, and stayed the module that it was.
 */
export function programOf(bundle: string): { source: string; text?: string } {
  const all = replacements(bundle);
  // V8 decides what is a declaration: one that is left in a function is a syntax error, one in a string is none.
  // (The declarations that replace them are left out of this, since two candidates may be about one name.)
  const unnamed = all.map((one) => ({ ...one, atBeginning: "" }));
  const real = all.filter((_, i) => !compiles(functionBody(bundle, unnamed.toSpliced(i, 1))));
  const body = functionBody(bundle, real);
  if (!compiles(body) || HTML_COMMENT.test(bundle)) return { source: `${PRELUDE}\n${READER}\n${bundle}` };
  const source = `new (async()=>{}).constructor("${META}",new TextDecoder().decode(COS_TEXT("${BUNDLE}")))`;
  return { source: `${PRELUDE}\n${READER}\nawait ${source}(import.meta);\n`, text: `${body}\n//# sourceURL=cos.js` };
}
