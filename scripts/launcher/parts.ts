/**
 * Makes the parts of the static file that are apart from the program: what a run may need, and most do not. No other run reads
 * them: a reader of YAML in the program would cost each start 2 ms of 30.
 *
 *     deno run -A scripts/launcher/parts.ts BUNDLE OUTPUT DIRECTORY
 *
 * The bundle was made with `--external NAME` for each of them, so `import("NAME")` is still in it. It becomes an import of the part
 * `NAME.js`. All parts are written into the directory.
 */

/** What is imported late, and the module that says what of it is used. */
export const LATE = {
  "cos/trust": "lib/trust/mod.ts",
  "js-yaml": "scripts/launcher/lazy/js-yaml.ts",
  "re2js": "scripts/launcher/lazy/re2js.ts",
  "smol-toml": "scripts/launcher/lazy/smol-toml.ts",
};
const ROOT = new URL("../../", import.meta.url).pathname;

async function part(directory: string, name: string, entry: string): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--minify", "--output", `${directory}/${name}.js`, `${ROOT}${entry}`],
    cwd: ROOT,
    stdout: "null",
  }).output();
  if (!success) throw new Error(`${entry} could not be bundled`);
}

if (import.meta.main) {
  const [input = "", output = "", directory = ""] = Deno.args;
  let program = await Deno.readTextFile(input);
  for (const [name, entry] of Object.entries(LATE)) {
    const wanted = `import("${name}")`, file = name.replace("/", "-");
    if (!program.includes(wanted)) continue;
    program = program.replaceAll(wanted, `import(COS_MODULE("${file}.js"))`);
    await part(directory, file, entry);
  }
  if (program.includes('("second-thread.js")')) {
    await part(directory, "second-thread", "lib/operations/second-thread.ts");
  }
  await Deno.writeTextFile(output, program);
}
