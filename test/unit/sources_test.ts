/** What every file of the project must be: formatted, without lint, of sound types, free of what does not belong in it. */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url).pathname;

async function mustSucceed(program: string, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd: ROOT, env: { NO_COLOR: "1" } })
    .output();
  const decoder = new TextDecoder();
  assert.equal(code, 0, `${program} ${args.join(" ")}\n${decoder.decode(stdout)}${decoder.decode(stderr)}`);
}

async function trackedFiles(): Promise<string[]> {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard"];
  const { stdout } = await new Deno.Command("git", { args, cwd: ROOT }).output();
  return new TextDecoder().decode(stdout).trim().split("\n");
}

Deno.test("all sources are formatted", () => mustSucceed(Deno.execPath(), "fmt", "--check", "--quiet"));

Deno.test("all sources are without lint", () => mustSucceed(Deno.execPath(), "lint", "--quiet"));

Deno.test("all sources are of sound types", () =>
  mustSucceed(Deno.execPath(), "check", "--quiet", "main.ts", "lib", "cmd", "test", "scripts"));

Deno.test("all shell scripts pass shellcheck", async () => {
  const scripts = (await trackedFiles()).filter((path) => {
    if (!/^(?:scripts|\.ci|packaging)\/[^.]+$|\.sh$/.test(path)) return false;
    return /^#.*(?:\bbash\b|\/sh\b|shell=sh)/m.test(Deno.readTextFileSync(`${ROOT}${path}`).slice(0, 300));
  });
  assert.ok(scripts.length >= 4, `only ${scripts}`);
  await mustSucceed("shellcheck", "-x", ...scripts);
});

Deno.test("no file names a package registry's host, or a path of somebody's machine", async () => {
  // Written in parts, so that this file does not find itself.
  const forbidden = new RegExp(["npmjs\\.", "deb\\.debian", "jsr\\.io", "/work" + "/main", "/ro" + "ot/\\."].join("|"));
  const wrong = (await trackedFiles()).filter((path) => {
    const text = Deno.readTextFileSync(`${ROOT}${path}`);
    return path !== "test/unit/sources_test.ts" && forbidden.test(text);
  });
  assert.deepEqual(wrong, []);
});
