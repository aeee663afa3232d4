/**
 * Packs packages that few runs need as parts of their own of the static file, so that no other run parses them: a reader of YAML
 * costs 2 ms of 30.
 *
 *     deno run -A scripts/launcher/lazy-packages.ts BUNDLE OUTPUT TEXTS
 *
 * The bundle was made with `--external PACKAGE`, so `import("PACKAGE")` is still in it. It becomes an import of the part
 * `PACKAGE.js`, which is written into the directory TEXTS.
 */

/** `lazy/PACKAGE.ts` names what of it is used. */
const PACKAGES = ["js-yaml", "re2js", "smol-toml"];

const [input = "", output = "", texts = ""] = Deno.args;
let program = await Deno.readTextFile(input);
for (const name of PACKAGES) {
  const wanted = `import("${name}")`;
  if (!program.includes(wanted)) continue;
  program = program.replaceAll(wanted, `import(COS_MODULE("${name}.js"))`);
  const entry = new URL(`lazy/${name}.ts`, import.meta.url).pathname;
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--minify", "--output", `${texts}/${name}.js`, entry],
    cwd: new URL("../../", import.meta.url).pathname,
    stdout: "null",
  }).output();
  if (!success) throw new Error(`${entry} could not be bundled`);
}
await Deno.writeTextFile(output, program);
