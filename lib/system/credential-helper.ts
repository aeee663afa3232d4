/** Running a credential helper: the protocol of docker-credential-helpers is a word, the host on standard input, JSON back. */
import { messageOf } from "../base/errors.ts";

export type HelperAnswer =
  | { outcome: "ended"; status: number; out: string; err: string }
  | { outcome: "missing" }
  | { outcome: "timeout"; seconds: number }
  | { outcome: "too-long" };

/** A signal ends the program, and the call with its reason. */
export type HelperRunner = (
  program: string,
  args: readonly string[],
  input: string,
  signal?: AbortSignal,
) => Promise<HelperAnswer>;

/** A clean path: the caller's may lead to something that only looks like the program. */
export const HELPER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** A cloud's helper asks a server, which may be slow. Milliseconds. */
const TIME_LIMIT = 30_000;
/** A token of the longest kind has some kilobytes. Bytes. */
const MOST_OUTPUT = 64 * 1024;

/** @param env what the program finds in its environment, but for its path. */
export function helperRunner(
  env: () => Record<string, string>,
  { path = HELPER_PATH, limit = TIME_LIMIT }: { path?: string; limit?: number } = {},
): HelperRunner {
  return async (program, args, input, signal) => {
    signal?.throwIfAborted();
    const found = find(program, path);
    if (found === undefined) return { outcome: "missing" };
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(found, {
        args: [...args],
        clearEnv: true,
        env: { ...env(), PATH: path },
        // Leads a group of its own, so that what it starts can be ended with it.
        detached: true,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (cause) {
      // No program of this machine's, or an interpreter that is not there: the status that shells give it.
      return { outcome: "ended", status: 126, out: "", err: messageOf(cause) };
    }
    let timedOut = false;
    const stop = () => {
      try {
        Deno.kill(-child.pid, "SIGKILL");
      } catch (thrown) {
        // All have ended in the meantime.
        if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
      }
    };
    // Programs that left the helper's group may hold its outputs open: those are not waited for.
    const late = Promise.withResolvers<undefined>();
    const end = () => {
      stop();
      late.resolve(undefined);
    };
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, limit);
    signal?.addEventListener("abort", end);
    const readers = [child.stdout, child.stderr].map((stream) => stream.getReader());
    try {
      const [, out, err] = await Promise.all([
        tell(child.stdin, input),
        ...readers.map((reader) => Promise.race([textOf(reader, stop), late.promise])),
      ]);
      const { code } = await child.status;
      signal?.throwIfAborted();
      if (timedOut) return { outcome: "timeout", seconds: limit / 1000 };
      if (out === undefined || err === undefined) return { outcome: "too-long" };
      return { outcome: "ended", status: code, out, err };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      await Promise.all(readers.map((reader) => reader.cancel()));
    }
  };
}

function find(program: string, path: string): string | undefined {
  for (const directory of path.split(":")) {
    const candidate = `${directory}/${program}`;
    try {
      const { isFile, mode } = Deno.statSync(candidate);
      if (isFile && ((mode ?? 0) & 0o111) !== 0) return candidate;
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) throw cause;
    }
  }
  return undefined;
}

async function tell(stdin: WritableStream<Uint8Array>, input: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(`${input}\n`));
    await writer.close();
  } catch (thrown) {
    // A helper that ends without having read its question.
    if (!(thrown instanceof Deno.errors.BrokenPipe)) throw thrown;
  }
}

/** Undefined where it is too long. */
async function textOf(reader: ReadableStreamDefaultReader<Uint8Array>, stop: () => void): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "", size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > MOST_OUTPUT) {
      stop();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
}
