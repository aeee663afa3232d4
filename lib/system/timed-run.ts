/** Running a program of somebody else's that may hang, leave others behind, or print without end. */
import { messageOf } from "../base/errors.ts";
import { byteString, displayName } from "../base/byte-string.ts";

export type TimedEnd =
  | { kind: "exit"; status: number; lastLine: string }
  | { kind: "signal"; signal: string; lastLine: string }
  | { kind: "timeout"; lastLine: string }
  | { kind: "unstartable"; why: string };

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** What has left the program's session may hold its output open: so long it is waited for. Milliseconds. */
const DRAIN = 1000;
const KEPT = 4096, LINE = 200;

export interface TimedOptions {
  args?: readonly string[];
  /** Besides a clean PATH and LC_ALL. */
  env?: Readonly<Record<string, string>>;
  /** Told of each line that it prints, on either stream. */
  line?: (text: string) => void;
}

/**
 * In a session of its own, which ends with it: what it started is killed when it ends, when its time is over and when `signal`
 * aborts. @param limit milliseconds.
 */
export async function runTimed(
  path: string,
  limit: number,
  signal: AbortSignal,
  { args = [], env = {}, line }: TimedOptions = {},
): Promise<TimedEnd> {
  signal.throwIfAborted();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(path, {
      args: [...args],
      // Where this program was started may be hidden by a mount since: from there nothing can be started.
      cwd: "/",
      clearEnv: true,
      env: { PATH, LC_ALL: "C", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (thrown) {
    // A script without its interpreter, or for another machine.
    return { kind: "unstartable", why: messageOf(thrown) };
  }
  const killAll = () => {
    try {
      Deno.kill(-child.pid, "SIGKILL");
    } catch (thrown) {
      // Nobody is left in that session.
      if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    }
  };
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killAll();
  }, limit);
  signal.addEventListener("abort", killAll);
  const tail = new Tail(line), readers = [child.stdout, child.stderr].map((stream) => stream.getReader());
  const reading = Promise.all(readers.map((reader) => tail.follow(reader)));
  try {
    await child.stdin.close();
    const status = await child.status;
    clearTimeout(timer);
    killAll();
    await within(reading, DRAIN);
    const { lastLine } = tail;
    if (late) return { kind: "timeout", lastLine };
    return status.signal === null
      ? { kind: "exit", status: status.code, lastLine }
      : { kind: "signal", signal: status.signal, lastLine };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", killAll);
    await Promise.all(readers.map((reader) => reader.cancel()));
    await reading;
  }
}

async function within(work: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([work, new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds))]);
  clearTimeout(timer);
}

/** The last of what a program prints, on either stream. */
class Tail {
  #text = "";

  constructor(readonly line: ((text: string) => void) | undefined) {}

  async follow(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    let begun = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const text = byteString(value);
      this.#text = (this.#text + text).slice(-KEPT);
      if (this.line === undefined) continue;
      const lines = (begun + text).split("\n");
      begun = (lines.pop() ?? "").slice(-KEPT);
      for (const one of lines) this.line(displayName(one.slice(0, LINE)));
    }
    if (begun !== "") this.line?.(displayName(begun.slice(0, LINE)));
  }

  get lastLine(): string {
    const line = this.#text.split("\n").map((one) => one.trim()).filter((one) => one !== "").at(-1) ?? "";
    return displayName(line.slice(0, LINE));
  }
}
