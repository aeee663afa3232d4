/**
 * What a lab made outside its own process (loop devices, mounts, processes, scratch directories) goes away whatever
 * ends the process: each thing is disposed by whoever made it, and what is left is disposed on SIGHUP, SIGINT and SIGTERM.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Dispose = () => void | Promise<void>;

const pending: Dispose[] = [];
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
let stopping = false;
const listeners = new Map<keyof typeof SIGNALS, () => void>();

/** Runs `dispose` once: by the result's `close`, by the end of its scope (`await using`), or on a signal. */
export function disposable(dispose: Dispose): AsyncDisposable & { close(): Promise<void> } {
  pending.push(dispose);
  // Listening only while there is something to undo leaves the runtime's own handling of signals alone otherwise.
  if (listeners.size === 0) listen();
  let closed: Promise<void> | undefined;
  const close = () =>
    closed ??= (async () => {
      const at = pending.indexOf(dispose);
      // A signal's clean-up has taken it and ends the process: whoever waits here must not go on, nor fail, before that.
      if (at < 0) await new Promise<never>(() => {});
      pending.splice(at, 1);
      if (pending.length === 0 && !stopping) unlisten();
      await dispose();
    })();
  return { close, [Symbol.asyncDispose]: close };
}

function listen(): void {
  for (const [signal, code] of Object.entries(SIGNALS) as [keyof typeof SIGNALS, number][]) {
    const listener = () => {
      if (stopping) return; // Asked again: the clean-up is under way, and goes to its end.
      stopping = true;
      void disposeAll().then(() => Deno.exit(code));
    };
    listeners.set(signal, listener);
    Deno.addSignalListener(signal, listener);
  }
}

function unlisten(): void {
  for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  listeners.clear();
}

/** Last made, first disposed; one that fails is told, and does not keep the others. */
async function disposeAll(): Promise<void> {
  for (let dispose = pending.pop(); dispose !== undefined; dispose = pending.pop()) {
    try {
      await dispose();
    } catch (error) {
      console.error(`clean-up: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** A directory of its own for one run. It lies in TMPDIR, which must have room for the disk's written blocks. */
export function scratchDirectory(name = "lab"): AsyncDisposable & { path: string; close(): Promise<void> } {
  const path = mkdtempSync(join(tmpdir(), `cos-${name}-`));
  return { path, ...disposable(() => rmSync(path, { recursive: true, force: true })) };
}
