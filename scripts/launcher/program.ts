/**
 * Makes of a bundle the program that the launcher starts: the same code, wrapped so that it starts faster.
 *
 * Deno parses every module a second time, with a parser of its own, to find what it imports, and keeps the result in
 * its cache directory. The static file has none, so a module of 450 KB would cost 35 ms at every start. A text that is
 * compiled as a function costs nothing of that. So the module is small, and holds the bundle as a string.
 *
 * Code in a function cannot contain import declarations and `import.meta`. Declarations that import built-in modules
 * become `await import(...)` at its beginning, which loads the same modules at the same moment; `import.meta` becomes
 * the argument.
 */

/**
 * Takes out of the environment again what the launcher set for Deno's start (launcher.c, `runtime_variables`), so that
 * neither the program nor its children see it. Runs in workers too, where it finds nothing left to do.
 */
const PRELUDE = `{
  const { env } = Deno, home = env.get("COS_SAVED_HOME");
  if (env.get("HOME") === "/proc/cos-has-no-home") home === undefined ? env.delete("HOME") : env.set("HOME", home);
  for (const name of ["COS_SAVED_HOME", "DENO_DIR", "DENO_LOG", "DENO_NO_UPDATE_CHECK"]) env.delete(name);
}`.replace(/\s+/g, " ");

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

/** The module to pack. `fast` is false where the bundle could not be wrapped, and stayed the module that it was. */
export function programOf(bundle: string): { source: string; fast: boolean } {
  const all = replacements(bundle);
  // V8 decides what is a declaration: one that is left in a function is a syntax error, one in a string is none.
  // (The declarations that replace them are left out of this, since two candidates may be about one name.)
  const unnamed = all.map((one) => ({ ...one, atBeginning: "" }));
  const real = all.filter((_, i) => !compiles(functionBody(bundle, unnamed.toSpliced(i, 1))));
  const body = functionBody(bundle, real);
  if (!compiles(body) || HTML_COMMENT.test(bundle)) return { source: `${PRELUDE}\n${bundle}`, fast: false };
  const text = JSON.stringify(`${body}\n//# sourceURL=cos.js`);
  return { source: `${PRELUDE}\nawait new (async()=>{}).constructor("${META}",${text})(import.meta);\n`, fast: true };
}
