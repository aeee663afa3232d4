/** Running a stage's programs, one after the other: in time, heard, and gone when they have ended. */
import { NAMESPACE_LINE, NO_ROOM, type Room, ROOM_COMMAND } from "../system/room.ts";
import { runTimed, type TimedEnd } from "../system/timed-run.ts";
import type { StagePlan, StageProgram } from "./stages.ts";

export interface FailedProgram {
  name: string;
  why: string;
}

export interface StageOptions {
  /** The command that starts this program. */
  self: readonly string[];
  /** Milliseconds that each program may take. */
  limit: number;
  env: Readonly<Record<string, string>>;
  /** Where they run; the host's own root otherwise. */
  room?: Room["private"];
  /** Told of each line that they print. */
  line: (program: string, text: string) => void;
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** So long the last processes in a room are waited for, and killed. Milliseconds. */
const CLEARING = 5000, PAUSE = 20;

/** All are run, whatever becomes of those before: which failed is the result. Throws the signal's reason. */
export async function runStage(plan: StagePlan, options: StageOptions, signal: AbortSignal): Promise<FailedProgram[]> {
  const failed: FailedProgram[] = [];
  for (const program of plan.programs) {
    const why = await runProgram(program, options, signal);
    signal.throwIfAborted();
    if (why !== undefined) failed.push({ name: program.name, why });
  }
  return failed;
}

async function runProgram(
  { name, program, args }: StageProgram,
  { self: [self = "", ...words], limit, env, room, line }: StageOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const description: Room = {
    program,
    args,
    env: { PATH, HOME: "/root", LC_ALL: "C", ...env },
    ...room && { private: room },
  };
  let namespace: string | undefined;
  const heard = (text: string) => {
    if (room !== undefined && namespace === undefined && text.startsWith(NAMESPACE_LINE)) {
      namespace = text.slice(NAMESPACE_LINE.length);
    } else line(name, text);
  };
  try {
    const end = await runTimed(self, limit, signal, {
      args: [...words, ROOM_COMMAND, JSON.stringify(description)],
      env: { COS_ARGV0: "cos" },
      line: heard,
    });
    return reasonOf(end, limit);
  } finally {
    if (namespace !== undefined) await clear(namespace);
  }
}

function reasonOf(end: TimedEnd, limit: number): string | undefined {
  const said = "lastLine" in end && end.lastLine !== "" && !end.lastLine.startsWith(NAMESPACE_LINE)
    ? `: ${end.lastLine.replace(/\.$/, "")}`
    : "";
  switch (end.kind) {
    case "exit":
      if (end.status === 0) return undefined;
      return end.status === NO_ROOM
        ? `it could not be started${said}`
        : `it ended with the status ${end.status}${said}`;
    case "signal":
      return `it was ended by ${end.signal}${said}`;
    case "timeout":
      return `it took longer than ${limit / 1000} seconds${said}`;
    case "unstartable":
      return `it could not be started: ${end.why}`;
  }
}

/** What has left the program's session still holds the room's mounts, and with them the image. */
async function clear(namespace: string): Promise<void> {
  for (let waited = 0; waited < CLEARING; waited += PAUSE) {
    const left = [...processesIn(namespace)];
    if (left.length === 0) return;
    for (const pid of left) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch (thrown) {
        if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

function* processesIn(namespace: string): Generator<number> {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      if (Deno.readLinkSync(`/proc/${name}/ns/mnt`) === namespace) yield Number(name);
    } catch (thrown) {
      // It has ended, or is a thread of the kernel.
      if (!(thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.PermissionDenied)) throw thrown;
    }
  }
}
