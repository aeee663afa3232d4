/**
 * Walks an image's tree on the second thread, for `read-back.ts`. A walk waits for the filesystem's tables, one after the other;
 * meanwhile the first thread reads and sums the files that were found.
 */
import { LinuxKernel } from "../system/linux-kernel.ts";
import { SystemCallError } from "../base/errors.ts";
import type { Channel, Thread } from "../system/thread.ts";
import { type Files, imageFiles } from "./files.ts";

/** So many batches are on their way at once. */
const AHEAD = 8;

export type ToFiles =
  | { kind: "walk"; root: number }
  | { kind: "more" }
  /** Nobody wants the rest; it is `done` when nothing of the image is open any more. */
  | { kind: "stop" };
export type FromFiles =
  | { kind: "files"; files: Files }
  | { kind: "done" }
  | { kind: "failed"; message: string; call?: { errno: string; call: string; subject: string } };

export function serveFiles(send: (message: FromFiles, transfer?: ArrayBuffer[]) => void): (message: ToFiles) => void {
  let room = 0, stopped = false, wake = () => {};
  const walk = async (root: number) => {
    room = AHEAD;
    stopped = false;
    try {
      for (const files of imageFiles(new LinuxKernel(), root)) {
        const { inodes, sizes, plain, first, places, lengths } = files;
        send({ kind: "files", files }, [inodes, sizes, plain, first, places, lengths].map(({ buffer }) => buffer));
        for (room--; room === 0 && !stopped;) await new Promise<void>((resolve) => wake = resolve);
        if (stopped) break;
      }
      send({ kind: "done" });
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown);
      if (!(thrown instanceof SystemCallError)) return send({ kind: "failed", message });
      const { errno, call, subject } = thrown;
      send({ kind: "failed", message, call: { errno, call, subject } });
    }
  };
  return (message) => {
    if (message.kind === "walk") void walk(message.root);
    else {
      if (message.kind === "more") room++;
      else stopped = true;
      wake();
    }
  };
}

/** The files of the image that is mounted at `root`, found by the second thread; behind the end it has nothing open of it. */
export async function* filesBeside(thread: Thread, root: number): AsyncGenerator<Files> {
  const channel: Channel<ToFiles, FromFiles> = thread.channel("files"), heard: FromFiles[] = [];
  let wake = () => {}, broken: { reason: unknown } | undefined;
  channel.listen((message) => {
    heard.push(message);
    wake();
  }, (reason) => {
    broken = { reason };
    wake();
  });
  /** Undefined where the thread has ended. */
  const next = async (): Promise<FromFiles | undefined> => {
    while (heard.length === 0 && broken === undefined) await new Promise<void>((resolve) => wake = resolve);
    return heard.shift();
  };
  let walking = true;
  channel.send({ kind: "walk", root });
  try {
    for (;;) {
      const message = await next();
      walking = message?.kind === "files";
      if (message === undefined) throw broken?.reason;
      if (message.kind === "done") return;
      if (message.kind === "failed") {
        const { call } = message;
        throw call === undefined
          ? new Error(message.message)
          : new SystemCallError(call.errno, call.call, call.subject);
      }
      channel.send({ kind: "more" });
      yield message.files;
    }
  } finally {
    // The walk goes by a descriptor that is the caller's to close, and its number may then be another file's.
    if (walking) channel.send({ kind: "stop" });
    while (walking) walking = (await next())?.kind === "files";
  }
}
