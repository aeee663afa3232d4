/** The static file for tests: built when there is none, or when what it is made of has changed. */

const ROOT = new URL("../../", import.meta.url).pathname;

/** The sources of the file; paths that git lists beneath them count. */
const SOURCES = [
  "main.ts",
  "cmd",
  "lib",
  "deno.json",
  "deno.lock",
  "scripts/build",
  "scripts/launcher",
  "scripts/deno-version",
];

/** The path of `dist/cos`, up to date. */
export function staticFile(): Promise<string> {
  return builtFile(`${ROOT}dist/cos`, [], SOURCES);
}

/** The path of `dist/cos-aarch64`, up to date. */
export function staticFileForArm(): Promise<string> {
  return builtFile(`${ROOT}dist/cos-aarch64`, ["--target", "aarch64"], SOURCES);
}

/** The path of a static file that runs `test/lab/launched.ts` instead of main.ts: for tests of the launcher. */
export function launchedFile(): Promise<string> {
  const program = "test/lab/launched.ts";
  return builtFile(`${ROOT}.cache/launched`, ["--program", `${ROOT}${program}`], [...SOURCES, program]);
}

async function builtFile(output: string, options: string[], sources: string[]): Promise<string> {
  const stamp = `${ROOT}.cache/built-${output.split("/").pop()}`;
  await Deno.mkdir(`${ROOT}.cache`, { recursive: true });
  // Tests and scripts may run at the same time: the first one builds, the others wait for it.
  using lock = await Deno.open(stamp, { read: true, write: true, create: true });
  await lock.lock(true);
  const made = await Deno.readTextFile(stamp);
  const wanted = await identity(sources);
  if (made !== wanted || !await exists(output)) {
    await run(`${ROOT}scripts/build`, [...options, "--output", output]);
    await Deno.writeTextFile(stamp, wanted);
  }
  return output;
}

/** Differs whenever the commit or the contents of the sources do. */
async function identity(sources: string[]): Promise<string> {
  const commit = await run("git", ["-C", ROOT, "rev-parse", "HEAD"]);
  const listed = await run("git", ["-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard", "--", ...sources]);
  const hashes: string[] = [];
  for (const path of listed.split("\0").filter((p) => p !== "").sort()) {
    const content = await Deno.readFile(ROOT + path).catch(() => new Uint8Array());
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", content)).toHex();
    hashes.push(`${hash} ${path}`);
  }
  return `${commit}${hashes.join("\n")}\n`;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function run(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
