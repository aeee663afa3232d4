/**
 * What a lab made outside its own process (loop devices, mounts, processes, scratch directories) goes away whatever
 * ends the process: each thing is disposed by whoever made it, and what is left is disposed on SIGHUP, SIGINT and
 * SIGTERM, the last made first.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** What is still to be undone. It stays here until it *is* undone, so that a signal's clean-up waits for it. */
interface Pending {
  /** Starts the disposal, or joins the one that is under way. */
  dispose(): Promise<void>;
}

export interface Closable extends AsyncDisposable {
  close(): Promise<void>;
}

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

const pending: Pending[] = [];
const listeners = new Map<keyof typeof SIGNALS, () => void>();
let stopping = false;

/**
 * Runs `dispose` once: by the result's `close`, by the end of its scope (`await using`), or on a signal. Programs that
 * it runs must be run with `undoing`, or a signal would stop them half-way.
 */
export function disposable(dispose: () => void | Promise<void>): Closable {
  let disposal: Promise<void> | undefined;
  const item: Pending = { dispose: () => disposal ??= (async () => await dispose())() };
  pending.push(item);
  // Listening only while there is something to undo leaves the runtime's own handling of signals alone otherwise.
  if (listeners.size === 0) listen();
  const close = async () => {
    await untilStopping();
    try {
      await item.dispose();
    } finally {
      await untilStopping();
      remove(item);
      if (pending.length === 0) unlisten();
    }
  };
  return { close, [Symbol.asyncDispose]: close };
}

/**
 * Returns at once, but never once a signal has come: the clean-up then has everything in hand and ends the process, and
 * until it does, nobody may make more, nor fail because of what is taken away.
 */
export async function untilStopping(): Promise<void> {
  if (stopping) await new Promise<never>(() => {});
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

/** One that fails is told, and does not keep the others. */
async function disposeAll(): Promise<void> {
  for (let item = pending.at(-1); item !== undefined; item = pending.at(-1)) {
    try {
      await item.dispose();
    } catch (error) {
      console.error(`clean-up: ${error instanceof Error ? error.message : error}`);
    }
    remove(item);
  }
}

function remove(item: Pending): void {
  const at = pending.indexOf(item);
  if (at >= 0) pending.splice(at, 1);
}

/**
 * The usual umask, for the files that a lab machine consists of: a test that opened the kernel in this process took it away, and
 * what others could write is not trusted.
 */
export function usualUmask(): void {
  Deno.umask(0o022);
}

/** A file of that mode, in directories that root alone can write, whatever the umask is: what others could write is not trusted. */
export function putFile(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(path, content);
  chmodSync(path, mode);
}

/** A directory of its own for one run. Where nothing is said, it lies in TMPDIR: there must be room for the disk's written blocks. */
export function scratchDirectory(name = "lab", parent = tmpdir()): Closable & { path: string } {
  const path = mkdtempSync(join(parent, `cos-${name}-`));
  return { path, ...disposable(() => rmSync(path, { recursive: true, force: true })) };
}
