/**
 * Makes the parts of the static file that are apart from the program: what a run may need, and most do not. No other run reads
 * them: a reader of YAML in the program would cost each start 2 ms of 30.
 *
 *     deno run -A scripts/launcher/parts.ts BUNDLE OUTPUT DIRECTORY
 *
 * The bundle was made with `--external PACKAGE`, so `import("PACKAGE")` is still in it. It becomes an import of the part
 * `PACKAGE.js`. All parts are written into the directory.
 */

/** `lazy/PACKAGE.ts` names what of it is used. */
const PACKAGES = ["js-yaml", "re2js", "smol-toml"];
const ROOT = new URL("../../", import.meta.url).pathname;

const [input = "", output = "", directory = ""] = Deno.args;

async function part(name: string, entry: string): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--minify", "--output", `${directory}/${name}.js`, `${ROOT}${entry}`],
    cwd: ROOT,
    stdout: "null",
  }).output();
  if (!success) throw new Error(`${entry} could not be bundled`);
}

let program = await Deno.readTextFile(input);
for (const name of PACKAGES) {
  const wanted = `import("${name}")`;
  if (!program.includes(wanted)) continue;
  program = program.replaceAll(wanted, `import(COS_MODULE("${name}.js"))`);
  await part(name, `scripts/launcher/lazy/${name}.ts`);
}
if (program.includes('("second-thread.js")')) {
  await part("second-thread", "lib/operations/second-thread.ts");
}
await Deno.writeTextFile(output, program);
