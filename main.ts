/** `cos`: starts the command that its first word asks for; nothing else. */
import { buildInfo } from "./lib/base/build-info.ts";

/** The parser's own errors are negative numbers; a wrong command line is 2, as everywhere. */
const USAGE = 2;

const IN_WORKER = "WorkerGlobalScope" in globalThis;

async function main(args: readonly string[]): Promise<number> {
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
  const [{ run }, { application }, { realOutput }, { environment }] = await Promise.all([
    import("@stricli/core"),
    import("./cmd/application.ts"),
    import("./lib/ui/output.ts"),
    import("./lib/config/environment.ts"),
  ]);
  const output = realOutput(environment("TERM"));
  const process: { stdout: { write(s: string): void }; stderr: { write(s: string): void }; exitCode?: number } = {
    stdout: { write: output.out },
    stderr: { write: output.err },
  };
  const context = { process, output, exitStatus: 0 };
  await run(application, args.length === 0 ? ["--help"] : args, context);
  const parsed = process.exitCode ?? 0;
  return parsed === 0 ? context.exitStatus : parsed < 0 ? USAGE : parsed;
}

// A plain bundle of this program is also what its second thread starts with; the static file has a part of its own for that.
if (IN_WORKER) await import("./lib/operations/second-thread.ts");
else Deno.exit(await main(Deno.args));
