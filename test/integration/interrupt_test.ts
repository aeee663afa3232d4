/** Runs that are stopped: by signals, which undo, and by SIGKILL at every step of the switch, which the next run mends. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { heldBy, heldByKilled, type LabMachine } from "../lab/machine.ts";
import { mount } from "../lab/disk.ts";
import { staticFile } from "../lab/static-file.ts";
import { run } from "../lab/run.ts";

async function deployed(stateFilesystem: "ext4" | "xfs" = "ext4"): Promise<DeployedMachine> {
  await using made = new AsyncDisposableStack();
  const options = { upgrades: ["v2"], stateMiB: 400, stateFilesystem };
  const machine = made.use(await deployedMachine({ v1: {}, v2: {} }, options));
  await machine.must("rollback");
  made.move();
  return machine;
}

async function files(machine: LabMachine): Promise<string[]> {
  await using state = await mount(machine.state);
  return [...Deno.readDirSync(join(state.path, "cOS"))].map(({ name }) => name).sort();
}

const FILES = ["active.img", "passive.img", "state.json"];

/** Whatever happened: two whole systems that either slot's name leads to, the labels right, nothing left over. */
async function assertConsistent(machine: LabMachine, what: string): Promise<void> {
  assert.deepEqual(await files(machine), FILES, what);
  const { active, passive } = await machine.slots();
  assert.equal(active?.label, "COS_ACTIVE", what);
  assert.deepEqual([active?.version, passive?.version].sort(), ["v1", "v2"], what);
  assert.equal(passive?.label, "COS_PASSIVE", what);
}

/** A child that has ended by itself in the meantime cannot be told anything any more. */
function stop(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (thrown) {
    if (!(thrown instanceof TypeError)) throw thrown;
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`${signal} at any moment before the switch leaves the machine as it was`, async () => {
    await using machine = await deployed();
    const before = await machine.slots();
    const program = await staticFile();
    let stopped = 0, finished = 0;
    for (let delay = 20; delay <= 400; delay += 20) {
      const args = ["upgrade", machine.image("v2"), "--no-verify", "--state", machine.state];
      const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
      const timer = setTimeout(() => stop(child, signal), delay);
      const { code, signal: died, stderr } = await child.output();
      clearTimeout(timer);
      const err = new TextDecoder().decode(stderr);
      assert.deepEqual(await heldBy(machine.state), [], `after ${delay} ms`);
      if (code === 130 && err !== "") {
        stopped++;
        assert.match(
          err,
          new RegExp(
            `Error: Stopped by ${signal}: everything that was begun is undone\\.\n  Run it again when you like; the system is as it was\\.\n$`,
          ),
        );
        assert.deepEqual(await machine.slots(), before, `stopped after ${delay} ms`);
        assert.deepEqual(await files(machine), FILES);
      } else if (died !== null || code === 130) {
        // Before the program listens, a signal ends the runtime; nothing has been touched by then.
        if (died !== null) assert.equal(died, signal);
        assert.deepEqual(await machine.slots(), before, `died after ${delay} ms`);
      } else {
        finished++;
        assert.equal(code, 0, err);
        await assertConsistent(machine, `finished in spite of ${signal} after ${delay} ms`);
        // Back to where the next one starts; the image may be there already by digest, so it is made the passive one again.
        await machine.must("rollback");
        before.active = (await machine.slots()).active ?? assert.fail();
        before.passive = (await machine.slots()).passive ?? assert.fail();
        if (finished > 3) break;
      }
    }
    assert.ok(stopped >= 3, `only ${stopped} runs were stopped`);
  });
}

/** Runs the program until its nth call of that name, and kills it there. False where it has no nth such call. */
async function killedAt(machine: LabMachine, call: string, n: number, words: string[]): Promise<boolean> {
  const args = ["-f", "-qqq", "-o", "/dev/null", "-e", `trace=${call}`];
  args.push("-e", `inject=${call}:signal=SIGKILL:when=${n}`, await staticFile(), ...words, "--state", machine.state);
  const { code, signal } = await new Deno.Command("strace", { args, stdin: "null", stdout: "null", stderr: "null" })
    .output();
  if (code === 0 && signal === null) return false;
  // The call may be one of mke2fs or e2fsck: then the program itself goes on, and undoes.
  assert.ok([137, 22, 23].includes(code), `${call} ${n}: ended with ${code} ${signal}`);
  return true;
}

for (
  const [operation, calls] of [
    ["upgrade", ["linkat", "renameat", "unlinkat", "pwrite64", "syncfs", "ioctl", "fsync"]],
    ["rollback", ["linkat", "renameat", "unlinkat", "pwrite64", "syncfs"]],
  ] as const
) {
  Deno.test(`SIGKILL at every step of ${operation === "upgrade" ? "an upgrade" : "a rollback"} leaves nothing that the next run does not mend`, async () => {
    await using machine = await deployed();
    let kills = 0;
    for (const call of calls) {
      for (let n = 1; n < 60; n++) {
        const words = operation === "upgrade" ? ["upgrade", machine.image("v2"), "--no-verify"] : ["rollback"];
        const killed = await killedAt(machine, call, n, words);
        // Mounts and loop devices go with the process, however it ends.
        assert.deepEqual(await heldByKilled(machine.state), [], `${call} ${n}`);
        // Before anything is mended, the name that boots leads to a whole system.
        const now = await machine.slots();
        assert.ok(["v1", "v2"].includes(now.active?.version ?? ""), `${call} ${n}: ${JSON.stringify(now)}`);
        assert.ok(["v1", "v2"].includes(now.passive?.version ?? ""), `${call} ${n}: ${JSON.stringify(now)}`);
        await machine.must("repair");
        const { out } = await machine.must("repair");
        assert.equal(out, "Nothing to mend.\n", `${call} ${n}`);
        await assertConsistentAfterKill(machine, `${call} ${n}`);
        if (!killed) break;
        kills++;
        if ((await machine.slots()).active?.version !== "v1") await machine.must("rollback");
      }
      if ((await machine.slots()).active?.version !== "v1") await machine.must("rollback");
    }
    console.log(`${operation}: killed at ${kills} calls`);
    assert.ok(kills >= (operation === "upgrade" ? 20 : 10), `only ${kills}`);
  });
}

async function assertConsistentAfterKill(machine: LabMachine, what: string): Promise<void> {
  assert.deepEqual(await files(machine), FILES, what);
  const { active, passive } = await machine.slots();
  assert.equal(active?.label, "COS_ACTIVE", what);
  if (active?.ino !== passive?.ino) assert.equal(passive?.label, "COS_PASSIVE", what);
  await using state = await mount(machine.state);
  for (const name of ["active.img", "passive.img"]) await run("e2fsck", ["-fn", join(state.path, "cOS", name)]);
}

Deno.test("SIGKILL while a filesystem is frozen for a checkpoint does not leave it frozen", async () => {
  await using machine = await deployed("xfs");
  // Freezing and thawing are calls of ioctl, one behind the other: one of these kills lies between them.
  let kills = 0;
  for (let n = 1; n < 60; n++) {
    if (!await killedAt(machine, "ioctl", n, ["rollback"])) break;
    kills++;
    // A frozen filesystem would hold this for ever; the guard may need a moment to see that its parent is gone.
    await machine.must("repair");
    await assertConsistentAfterKill(machine, `ioctl ${n}`);
  }
  assert.ok(kills >= 10, `only ${kills}`);
  const log = join(machine.directory, "trace");
  const args = ["-f", "-qqq", "-o", log, "-e", "trace=ioctl", await staticFile(), "rollback", "--state", machine.state];
  assert.equal(
    (await new Deno.Command("strace", { args, stdin: "null", stdout: "null", stderr: "null" }).output()).code,
    0,
  );
  const calls = Deno.readTextFileSync(log).match(/FIFREEZE|FITHAW/g) ?? [];
  assert.ok(calls.length >= 8, `only ${calls}`);
  // Each freeze is thawed at once; the last thaw is the guard's own.
  assert.deepEqual(calls.slice(0, -1), calls.slice(0, -1).map((_, i) => i % 2 === 0 ? "FIFREEZE" : "FITHAW"));
});

Deno.test("a second run is refused while one is at work, and names it", async () => {
  await using machine = await deployed();
  // A registry that never answers holds the first run where it has the lock and has begun nothing.
  const asked = Promise.withResolvers<void>(), answer = Promise.withResolvers<Response>();
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => undefined }, () => {
    asked.resolve();
    return answer.promise;
  });
  const args = ["upgrade", `127.0.0.1:${server.addr.port}/os:v3`, "--no-verify", "--state", machine.state];
  const child = new Deno.Command(await staticFile(), { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  await asked.promise;
  const second = await machine.cos("rollback");
  child.kill("SIGTERM");
  assert.deepEqual(second, {
    status: 8,
    out: "",
    err: `Error: Cannot work on ${machine.state}: another run of cos (process ${child.pid}) is at work on it.\n` +
      `  Wait until it has ended, or stop it with: kill ${child.pid}\n`,
  });
  assert.equal((await child.status).code, 130);
  answer.resolve(new Response(null, { status: 404 }));
  await machine.must("rollback");
});
