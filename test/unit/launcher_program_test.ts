/** The wrapping of a bundle into the program of the static file. */
import assert from "node:assert/strict";
import { programOf, READER } from "../../scripts/launcher/program.ts";

/** Runs a wrapped bundle in a process of its own and returns what it prints. */
async function run(bundle: string, { fast = true } = {}): Promise<string> {
  const program = programOf(bundle);
  assert.equal(program.text !== undefined, fast);
  const path = await Deno.makeTempFile({ suffix: ".mjs" });
  try {
    // In the place of the static file's parts.
    const texts = `globalThis.COS_TEXT = () => new TextEncoder().encode(${JSON.stringify(program.text ?? "")});`;
    await Deno.writeTextFile(path, program.source.replace(READER, () => texts));
    const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-config", path] });
    const { stdout, stderr } = await command.output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr).replaceAll(path, "PATH");
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("programOf() keeps imports of built-in modules in every form, minified or not", async () => {
  const imports = [
    `import a from "node:path";`,
    `import{join as b,sep}from"node:path";`,
    `import * as c from "node:path";`,
    `import d,{dirname as $e} from "node:path"`,
    `import f,*as g from"node:path";`,
    `import {\n  basename,\n  extname as h,\n} from "node:path";`,
    `import"node:path";`,
  ];
  const uses =
    `console.log([a.sep,b("x","y"),sep,c.sep,d.sep,$e("/p/q"),f===g.default,basename("/r"),h("s.t")].join(" "))`;
  assert.equal(await run(`${imports.join("\n")}\n${uses};\n`), "/ x/y / / / /p true r .t\n");
  // A declaration is hoisted: what it imports is there before it.
  assert.equal(await run(`console.log(typeof late);import late from"node:path";`), "object\n");
});

Deno.test("programOf() leaves alone what only looks like an import", async () => {
  const bundle = [
    `import{sep}from"node:path";`,
    `const text='import{sep}from"node:path";',template=\`import.meta and import "node:fs"\`;`,
    `/* import x from "node:os" */ const pattern=/import.meta/;`,
    `console.log(text,template,String(pattern),sep);`,
  ].join("\n");
  assert.equal(
    await run(bundle),
    'import{sep}from"node:path"; import.meta and import "node:fs" /import.meta/ /\n',
  );
});

Deno.test("programOf() hands on import.meta, awaits at the top level, and is strict", async () => {
  const bundle = [
    `console.log(import.meta.url.endsWith(".mjs"), import.meta.main);`,
    `console.log(await Promise.resolve("awaited"), (await import("node:os")).EOL.length);`,
    `console.log(this, (function () { return this })());`,
  ].join("\n");
  assert.equal(await run(bundle), "true true\nawaited 1\nundefined undefined\n");
});

Deno.test("programOf() keeps every character of the code", async () => {
  const bundle =
    'console.log("ä€😀\\u2028\\\\", `a\\n${"`"}</script>`.length, "\u2028".length, /[/"\\\\]*/.source, "*/");';
  assert.equal(await run(bundle), 'ä€😀\u2028\\ 12 1 [/"\\\\]* */\n');
});

Deno.test("programOf() leaves a bundle that cannot be a function as the module it is", async () => {
  assert.equal(await run(`console.log("exports");export const x=1;`, { fast: false }), "exports\n");
  assert.equal(programOf(`import x from "./other.js";`).text, undefined);
  assert.equal(programOf(`let b=2;console.log(1<!--b);`).text, undefined);
});

Deno.test("programOf() names the program in traces", async () => {
  assert.match(await run(`throw new Error("seen")`), /error.*Uncaught .*Error: seen[^]*cos\.js/);
});
