/** Programs that hang, leave others behind or print without end, as real processes. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { runTimed } from "../../lib/system/timed-run.ts";
import { scratchDirectory } from "../lab/cleanup.ts";

const NEVER = new AbortController().signal;
const LONG = 60_000;

async function timed(script: string, limit: number, signal = NEVER, prepare?: (directory: string) => void) {
  await using scratch = scratchDirectory("timed");
  const path = `${scratch.path}/program`;
  Deno.writeTextFileSync(path, `#!/bin/sh\ncd ${scratch.path}\n${script}\n`, { mode: 0o755 });
  prepare?.(scratch.path);
  const end = await runTimed(path, limit, signal);
  const pids = ["pid", "child"].map((name) => {
    try {
      return Number(Deno.readTextFileSync(`${scratch.path}/${name}`));
    } catch {
      return undefined;
    }
  });
  return { end, pids };
}

/** A zombie that nobody has fetched yet is dead too. */
function isAlive(pid: number | undefined): boolean {
  assert.ok(pid !== undefined && pid > 0);
  try {
    return !/^\d+ \(.*\) [ZX]/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

/** What was killed ends when the kernel comes to it, on a busy machine a moment after the signal was sent. */
async function staysAlive(pid: number | undefined): Promise<boolean> {
  for (let left = 2000; left > 0 && isAlive(pid); left--) await new Promise((resolve) => setTimeout(resolve, 5));
  return isAlive(pid);
}

Deno.test("how a program ended, and what it said last", async () => {
  assert.deepEqual((await timed("exit 0", LONG)).end, { kind: "exit", status: 0, lastLine: "" });
  assert.deepEqual((await timed("echo one; echo two >&2; exit 7", LONG)).end.kind, "exit");
  assert.deepEqual((await timed("printf 'a\\033[31mb\\n\\n'; exit 1", LONG)).end, {
    kind: "exit",
    status: 1,
    lastLine: "a\\u001b[31mb",
  });
  assert.deepEqual((await timed("kill -TERM $$", LONG)).end, { kind: "signal", signal: "SIGTERM", lastLine: "" });
});

Deno.test("one that hangs is ended with all that it started", async () => {
  const { end, pids: [, child] } = await timed("sleep 1000 & echo $! > child; echo waiting; wait", 500);
  assert.deepEqual(end, { kind: "timeout", lastLine: "waiting" });
  assert.equal(await staysAlive(child), false);
});

Deno.test("what it leaves behind ends with it, and does not hold it up", async () => {
  const { end, pids: [, child] } = await timed("sleep 1000 & echo $! > child; exit 0", LONG);
  assert.deepEqual(end, { kind: "exit", status: 0, lastLine: "" });
  assert.equal(await staysAlive(child), false);
});

Deno.test("one that prints without end takes no memory, and is ended in time", async () => {
  const before = Deno.memoryUsage().rss;
  const { end } = await timed("exec yes abc", 500);
  assert.deepEqual(end, { kind: "timeout", lastLine: "abc" });
  assert.ok(Deno.memoryUsage().rss - before < 200 << 20);
});

Deno.test("what has left its session and holds its output open is not waited for", async () => {
  const script = "setsid sh -c 'echo $$ > child; exec sleep 1000' & until [ -s child ]; do sleep 0.01; done; exit 0";
  const { end, pids: [, child] } = await timed(script, LONG);
  assert.equal(end.kind, "exit");
  // The test's own: nothing else ends it.
  assert.equal(isAlive(child), true);
  Deno.kill(child ?? 0, "SIGKILL");
});

Deno.test("a signal to this program ends it at once", async () => {
  const controller = new AbortController();
  let begun: Promise<void> | undefined;
  const { end } = await timed("echo $$ > pid; exec sleep 1000", LONG, controller.signal, (directory) => {
    begun = (async () => {
      while (!existsSync(`${directory}/pid`)) await new Promise((resolve) => setTimeout(resolve, 10));
      controller.abort();
    })();
  });
  await begun;
  assert.equal(end.kind, "signal");
  await assert.rejects(timed("exit 0", LONG, controller.signal));
});
