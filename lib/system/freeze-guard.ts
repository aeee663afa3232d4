/**
 * A process that thaws a filesystem if the one that froze it dies before it could: a frozen root of images would hang every
 * writer for ever. It holds a directory of the filesystem, and waits until its standard input ends.
 */
import { AT_FDCWD, type Kernel, O_DIRECTORY, O_RDONLY } from "./kernel.ts";
import { thaw } from "./checkpoint.ts";

/** The hidden first word that makes the program a guard; then comes the directory. */
export const GUARD_COMMAND = "internal-freeze-guard";

const READY = "ready\n";

export class FreezeGuard implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  /**
   * @param self the command that starts this program. @param directory of the filesystem, as the guard can open it.
   * Undefined where the guard did not start: then nothing must be frozen.
   */
  static async start(self: readonly string[], directory: string): Promise<FreezeGuard | undefined> {
    const [program, ...args] = self;
    if (program === undefined) return undefined;
    const child = new Deno.Command(program, {
      args: [...args, GUARD_COMMAND, directory],
      // Where this program was started may be hidden by a mount since: from there nothing can be started.
      cwd: "/",
      // The guard is called by the program's own name, whatever this process was called by.
      env: { COS_ARGV0: "cos" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    if (value !== undefined && new TextDecoder().decode(value) === READY) return new FreezeGuard(child);
    await child.stdin.close();
    await child.stdout.cancel();
    await child.status;
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.stdout.cancel();
    await this.#child.status;
  }
}

/** What the guard's own process does. Signals that stop its parent must not stop it first. */
export async function guard(kernel: Kernel, directory: string): Promise<void> {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.addSignalListener(signal, () => undefined);
  const fd = kernel.openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
  await Deno.stdout.write(new TextEncoder().encode(READY));
  const buffer = new Uint8Array(16);
  while (await Deno.stdin.read(buffer) !== null);
  thaw(kernel, fd);
}
