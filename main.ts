/** `cos`: starts the command that its name or its first word asks for; nothing else. */
import type { CosContext } from "./cmd/context.ts";
import { legacyName } from "./cmd/legacy/names.ts";
import { buildInfo } from "./lib/base/build-info.ts";
import { environment } from "./lib/config/environment.ts";

/** The parser's own errors are negative numbers; a wrong command line is 2, as everywhere. */
const USAGE = 2;

const IN_WORKER = "WorkerGlobalScope" in globalThis;

/** @param called the name that this file was called by. */
async function main(called: string | undefined, args: readonly string[]): Promise<number> {
  const name = legacyName(called);
  // These never had flags that differ from those of the command.
  if (name === "cos-rollback") return await runCommand(["rollback", ...args]);
  if (name === "suc-upgrade") return await runCommand([name, ...args]);
  if (name !== undefined) {
    const [{ runLegacy }, context] = await Promise.all([import("./cmd/legacy/run.ts"), newContext()]);
    await runLegacy(context, name, args);
    return context.exitStatus;
  }
  // What must be fast, or must not depend on anything, comes before the table of commands is loaded.
  if (args.length === 1 && (args[0] === "--version" || args[0] === "-V")) {
    const { version, commit, denoVersion } = buildInfo();
    console.log(`cos ${version} (commit ${commit}, Deno ${denoVersion})`);
    return 0;
  }
  if (args[0] === "internal-freeze-guard" && args[1] !== undefined) {
    const [{ guard }, { LinuxKernel }] = await Promise.all([
      import("./lib/system/freeze-guard.ts"),
      import("./lib/system/linux-kernel.ts"),
    ]);
    await guard(new LinuxKernel(), args[1]);
    return 0;
  }
  if (args[0] === "internal-room" && args[1] !== undefined) {
    const { enterRoom } = await import("./lib/system/room.ts");
    return enterRoom(args[1]);
  }
  return await runCommand(args.length === 0 ? ["--help"] : args);
}

/** By the table of commands. */
async function runCommand(args: readonly string[]): Promise<number> {
  const [{ run }, { application }, context] = await Promise.all([
    import("@stricli/core"),
    import("./cmd/application.ts"),
    newContext(),
  ]);
  await run(application, args, context);
  const parsed = context.process.exitCode ?? 0;
  return parsed === 0 ? context.exitStatus : parsed < 0 ? USAGE : parsed;
}

async function newContext() {
  const { realOutput } = await import("./lib/ui/output.ts"), output = realOutput(environment("TERM"));
  const process: CosContext["process"] & { exitCode?: number } = {
    stdout: { write: output.out },
    stderr: { write: output.err },
  };
  return { process, output, exitStatus: 0 };
}

// A plain bundle of this program is also what its second thread starts with; the static file has a part of its own for that.
if (IN_WORKER) await import("./lib/operations/second-thread.ts");
else Deno.exit(await main(environment("COS_ARGV0"), Deno.args));
