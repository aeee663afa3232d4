/**
 * Packs packages that few runs need into the bundle as text. The runtime parses all of a program at every start, twice, and
 * passes over a string much faster than over code: 2 ms of 30 for a reader of YAML.
 *
 *     deno run -A scripts/launcher/lazy-packages.ts BUNDLE OUTPUT
 *
 * The bundle was made with `--external PACKAGE`, so `import("PACKAGE")` is still in it. It becomes an import of a `data:` URL out
 * of a variable: of one that stands there literally the runtime would load at the start, too.
 */

/** `lazy/PACKAGE.ts` names what of it is used. */
const PACKAGES = ["js-yaml", "re2js", "smol-toml"];

const [input = "", output = ""] = Deno.args;
let program = await Deno.readTextFile(input), texts = "";
for (const name of PACKAGES) {
  const wanted = `import("${name}")`, variable = `globalThis.COS_LAZY_${name.toUpperCase().replace("-", "_")}`;
  if (!program.includes(wanted)) continue;
  program = program.replaceAll(wanted, `import(${variable})`);
  const made = await Deno.makeTempFile({ suffix: ".js" });
  try {
    const entry = new URL(`lazy/${name}.ts`, import.meta.url).pathname;
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--minify", "--output", made, entry],
      cwd: new URL("../../", import.meta.url).pathname,
      stdout: "null",
    }).output();
    if (!success) throw new Error(`${entry} could not be bundled`);
    const base64 = (await Deno.readFile(made)).toBase64();
    texts += `${variable}="data:text/javascript;base64,${base64}";\n`;
  } finally {
    await Deno.remove(made);
  }
}
await Deno.writeTextFile(output, texts + program);
