/** Runs other programs for the lab: a failure throws, with the program's own words. */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { disposable, untilStopping } from "./cleanup.ts";

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: string;
  /** The program undoes what a lab made: a signal does not stop it. */
  undoing?: boolean;
}

/** Standard output, as text. Throws with the command and its standard error when it does not end with 0. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  return new TextDecoder().decode(await runBytes(command, args, options));
}

/** Like `run`, for output that is not text. */
export async function runBytes(command: string, args: string[], options: RunOptions = {}): Promise<Uint8Array> {
  if (options.undoing !== true) await untilStopping();
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    // Ctrl-C goes to all programs of a session: what undoes stands in one of its own.
    detached: options.undoing === true,
    ...(options.env !== undefined && { env: { ...Deno.env.toObject(), ...options.env } }),
  });
  const out: Uint8Array[] = [];
  const errors: Uint8Array[] = [];
  child.stdout.on("data", (chunk: Uint8Array) => out.push(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => errors.push(chunk));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  // A signal that ends the lab ends its children first: what they hold open cannot be cleaned up.
  const running = options.undoing === true ? undefined : disposable(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await ended;
  });
  // A program that ends without reading its input says why by its exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const { code, signal } = await ended.finally(() => running?.close());
  if (code === 0) return Buffer.concat(out);
  const words = Buffer.concat(errors).toString().trim();
  throw new Error(`${[command, ...args].join(" ")} ended with ${signal ?? code}${words === "" ? "" : `: ${words}`}`);
}

/** How long a server may take to end. */
const END_MS = 20_000;

/** Ends a server of the lab, and waits for it. @param ended resolves when it has ended. */
export async function endServer(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await ended.finally(() => clearTimeout(killer));
}

/**
 * Runs a program whose output people see as it comes, and gives its exit code. It stands in a session of its own, so
 * that Ctrl-C reaches it once, as SIGTERM from the lab's clean-up, and before what it works on is taken away.
 */
export async function runVisibly(command: string, args: string[]): Promise<number> {
  await untilStopping();
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
    detached: true,
  }).spawn();
  let ended = false;
  const running = disposable(async () => {
    if (!ended) child.kill("SIGTERM");
    await child.status;
  });
  const { code } = await child.status;
  ended = true;
  await running.close();
  return code;
}
