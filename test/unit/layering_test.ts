/** The design's arrows: imports run downwards only, parsers do no I/O, and one place reads the environment. */
import assert from "node:assert/strict";
import { posix } from "node:path";
import { LATE } from "../../scripts/launcher/parts.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

const SIBLINGS = ["oci", "unpack", "reuse", "image", "state", "boot", "stages", "config", "kubernetes"];

/** What the files of a folder may import, besides their own. */
const ALLOWED: Record<string, readonly string[]> = {
  base: [],
  formats: ["base"],
  trust: ["base", "formats"],
  system: ["base", "formats"],
  machine: ["base", "formats", "trust", "system"],
  ...Object.fromEntries(SIBLINGS.map((name) => [name, ["base", "formats", "trust", "system", "machine"]])),
  operations: ["base", "formats", "trust", "system", "machine", ...SIBLINGS],
  // Draws what operations found; only their types reach it, which `import type` below makes sure of.
  ui: ["base", "formats"],
  cmd: ["base", "formats", "trust", "system", "machine", ...SIBLINGS, "operations", "ui"],
};

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

interface Import {
  from: string;
  to: string;
  typeOnly: boolean;
}

function imports(path: string): Import[] {
  const text = Deno.readTextFileSync(`${ROOT}${path}`), found: Import[] = [];
  const declaration = /^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"/gm;
  for (const match of text.matchAll(declaration)) {
    found.push({ from: path, to: posix.join(posix.dirname(path), match[2] ?? ""), typeOnly: match[1] !== undefined });
  }
  for (const match of text.matchAll(/\bimport\("(\.[^"]+)"\)/g)) {
    found.push({ from: path, to: posix.join(posix.dirname(path), match[1] ?? ""), typeOnly: false });
  }
  if (text.includes('import("cos/trust")')) found.push({ from: path, to: LATE["cos/trust"], typeOnly: false });
  return found;
}

function layerOf(path: string): string {
  const [top = "", folder = ""] = path.split("/");
  return top === "lib" ? folder : top;
}

const all = [...sources("lib"), ...sources("cmd")];

Deno.test("imports run downwards only", () => {
  const wrong: string[] = [];
  for (const { from, to, typeOnly } of all.flatMap(imports)) {
    const layer = layerOf(from), target = layerOf(to);
    if (layer === target || to === "deno.json") continue;
    if (ALLOWED[layer]?.includes(target)) continue;
    if (layer === "ui" && target === "operations" && typeOnly) continue;
    wrong.push(`${from} imports ${to}`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("every folder of lib has its place in the layering", () => {
  const folders = [...Deno.readDirSync(`${ROOT}lib`)].map(({ name }) => name);
  assert.deepEqual(folders.filter((name) => ALLOWED[name] === undefined), []);
});

Deno.test("parsers and policies do no input or output", () => {
  const pure = all.filter((path) => ["formats", "trust"].includes(layerOf(path)));
  const wrong = pure.filter((path) =>
    /\bDeno\.|\bfetch\(|"node:(?!buffer)/.test(Deno.readTextFileSync(`${ROOT}${path}`))
  );
  assert.deepEqual(wrong, []);
  assert.ok(pure.length > 5);
});

Deno.test("only lib/config reads the environment", () => {
  const wrong = all.filter((path) =>
    layerOf(path) !== "config" && Deno.readTextFileSync(`${ROOT}${path}`).includes("Deno.env")
  );
  assert.deepEqual(wrong, []);
});

Deno.test("modules of the runtime that cost start-up time are loaded where they are used", () => {
  // In the one bundled file an import at the top is paid for by every command.
  const wrong = all.filter((path) => /^import [^;]*from "node:/m.test(Deno.readTextFileSync(`${ROOT}${path}`)));
  assert.deepEqual(wrong, []);
});

Deno.test("what only some runs need is loaded where it is used, and its part of the static file has all that is used", () => {
  const late = Object.entries(LATE);
  // The bundle of the program leaves out exactly these.
  const externals = [...Deno.readTextFileSync(`${ROOT}scripts/build`).matchAll(/--external (\S+)/g)].map(([, name]) =>
    name
  );
  assert.deepEqual(externals, late.map(([name]) => name));
  const used = new Set<string>();
  for (const path of all) {
    const text = Deno.readTextFileSync(`${ROOT}${path}`);
    assert.doesNotMatch(text, /^(?:import|export) (?!type )[^;]*from "(?:cos\/trust|js-yaml|re2js|smol-toml)"/m, path);
    for (const [, names = "", from = ""] of text.matchAll(/\{([^{}]*)\} = await import\("([^".]+)"\)/g)) {
      const entry = LATE[from as keyof typeof LATE];
      if (entry === undefined) continue;
      const offered = Deno.readTextFileSync(`${ROOT}${entry}`);
      for (const name of names.split(",").map((n) => n.split(":")[0]?.trim() ?? "").filter(Boolean)) {
        assert.match(offered, new RegExp(`\\b${name}\\b`), `${entry} lacks ${name}`);
        used.add(from);
      }
    }
  }
  assert.ok(used.size >= 3, `${[...used]}`);
  // Types are free; anything else of this folder is reached through its part.
  const outside = all.filter((path) => layerOf(path) !== "trust").flatMap(imports);
  const early = outside.filter(({ to, typeOnly }) => layerOf(to) === "trust" && to !== LATE["cos/trust"] && !typeOnly);
  assert.deepEqual(early, []);
});

Deno.test("the layering test sees imports of every form", () => {
  assert.deepEqual(imports("main.ts").map(({ to }) => to), [
    "cmd/context.ts",
    "cmd/legacy/names.ts",
    "lib/base/build-info.ts",
    "lib/config/environment.ts",
    "cmd/legacy/run.ts",
    "lib/system/freeze-guard.ts",
    "lib/system/linux-kernel.ts",
    "lib/system/room.ts",
    "cmd/application.ts",
    "lib/ui/output.ts",
    "lib/operations/second-thread.ts",
  ]);
});
