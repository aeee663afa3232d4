/** Credential helpers are other people's programs: what they are given, and what they can do to us. */
import assert from "node:assert/strict";
import { helperEnvironment } from "../../lib/config/environment.ts";
import { helperRunner } from "../../lib/system/credential-helper.ts";
import { scratchDirectory } from "../lab/cleanup.ts";

function program(directory: string, name: string, script: string): void {
  Deno.writeTextFileSync(`${directory}/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

Deno.test("a helper gets its word, the host on a line, and an environment in which nothing steers it", async () => {
  await using scratch = scratchDirectory("helper");
  program(scratch.path, "docker-credential-x", 'read -r host; echo "$0 $* $host"; env | sort; echo no >&2; exit 3');
  const env = () =>
    helperEnvironment({
      HOME: "/h",
      AWS_PROFILE: "a",
      https_proxy: "p",
      PATH: "/evil",
      LD_PRELOAD: "/evil.so",
      LD_LIBRARY_PATH: "/evil",
      NODE_OPTIONS: "--require=/evil",
      DENO_DIR: "/x",
      PYTHONPATH: "/evil",
      BASH_ENV: "/evil",
      ENV: "/evil",
      PERL5LIB: "/evil",
      GLIBC_TUNABLES: "x",
    });
  const path = `${scratch.path}:/usr/bin:/bin`, run = helperRunner(env, { path });
  assert.deepEqual(await run("docker-credential-x", ["get"], "r.example"), {
    outcome: "ended",
    status: 3,
    out:
      `${scratch.path}/docker-credential-x get r.example\nAWS_PROFILE=a\nHOME=/h\nPATH=${path}\nPWD=${Deno.cwd()}\nhttps_proxy=p\n`,
    err: "no\n",
  });
});

Deno.test("a helper that is missing, is no program, hangs, floods or does not read is no trouble", async () => {
  await using scratch = scratchDirectory("helper");
  const { path } = scratch, run = helperRunner(() => ({}), { path: `${path}:/usr/bin:/bin`, limit: 400 });
  assert.deepEqual(await run("docker-credential-x", ["get"], "h"), { outcome: "missing" });
  Deno.writeTextFileSync(`${path}/docker-credential-x`, "", { mode: 0o644 });
  assert.deepEqual(await run("docker-credential-x", ["get"], "h"), { outcome: "missing" });
  Deno.writeTextFileSync(`${path}/docker-credential-x`, "#!/no/such/interpreter\n");
  Deno.chmodSync(`${path}/docker-credential-x`, 0o755);
  const broken = await run("docker-credential-x", ["get"], "h");
  assert.ok(broken.outcome === "ended" && broken.status === 126 && broken.err !== "");
  program(path, "docker-credential-hangs", "sleep 1000 & echo $!; wait");
  assert.deepEqual(await run("docker-credential-hangs", ["get"], "h"), { outcome: "timeout", seconds: 0.4 });
  program(path, "docker-credential-floods", "exec cat /dev/zero");
  assert.deepEqual(await run("docker-credential-floods", ["get"], "h"), { outcome: "too-long" });
  program(path, "docker-credential-blind", "exec 0<&-; echo '{}'");
  assert.deepEqual(await run("docker-credential-blind", ["get"], "h".repeat(1 << 20)), {
    outcome: "ended",
    status: 0,
    out: "{}\n",
    err: "",
  });
});

Deno.test("a helper that hangs is ended when the work is stopped, with what it started", async () => {
  await using scratch = scratchDirectory("helper");
  const { path } = scratch, run = helperRunner(() => ({}), { path: `${path}:/usr/bin:/bin` });
  program(path, "docker-credential-hangs", `sleep 1000 & echo $! >${path}/pid; wait`);
  const stop = new AbortController(), reason = new Error("stopped");
  const running = run("docker-credential-hangs", ["get"], "h", stop.signal);
  let pid = "";
  while (!pid.endsWith("\n")) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    pid = await Deno.readTextFile(`${path}/pid`).catch(() => "");
  }
  stop.abort(reason);
  await assert.rejects(running, reason);
  // It is gone, or waits for its parent to look at it.
  const state = await Deno.readTextFile(`/proc/${pid.trim()}/stat`).catch(() => ") Z");
  assert.match(state, /\) [ZX]/);
  await assert.rejects(run("docker-credential-hangs", ["get"], "h", stop.signal), reason);
});
