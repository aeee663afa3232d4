/** The bodies of answers: in pieces, with a limit of time between them; or whole, with a limit of size. */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { broken } from "./failure.ts";

/** Limit of token and error bodies (containers/image). Bytes. */
export const MAX_SMALL_BODY = 1024 * 1024;
/** A whole body may take so many times the limit of a stall: one that drips for ever is given up as well. */
const SLOWEST = 10;
/** What a body is first gathered in; the buffer grows with it. Bytes. */
const FIRST_BUFFER = 64 * 1024;

/**
 * A body's pieces; throws a `ConnectionError` where it stalls or breaks.
 * @param limit a server that sends nothing for so long is given up; the time that the reader takes does not count. Milliseconds
 */
export async function* bodyChunks(
  response: Response,
  host: string,
  limit: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  signal?.throwIfAborted();
  const reader = response.body.getReader();
  // One timer for all pieces: it looks how long the reading has waited, and lies down again for the rest.
  let waiting: number | undefined, stalled = false;
  const look = () => {
    const waited = waiting === undefined ? 0 : performance.now() - waiting;
    stalled = waited >= limit;
    // Ends the read that waits, too.
    if (stalled) void reader.cancel().catch(() => undefined);
    else timer = setTimeout(look, Math.max(limit - waited, 1));
  };
  let timer = setTimeout(look, limit);
  const stop = () => void reader.cancel().catch(() => undefined);
  signal?.addEventListener("abort", stop);
  try {
    for (;;) {
      waiting = performance.now();
      const { done, value } = await reader.read();
      waiting = undefined;
      signal?.throwIfAborted();
      if (stalled) throw new Error(`it sent nothing for ${limit / 1000} seconds`);
      if (done) return;
      yield value;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof CosError) throw cause;
    throw broken(host, cause);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    // Frees the connection wherever the reading stopped; a body that broke has nothing left to cancel.
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * A whole body of at most `most` bytes. Its pieces are copied at once: each, however small, keeps a buffer of the runtime's of 64 KiB.
 * @param slowest it may take so many times the limit of a stall
 */
export async function readAll(
  response: Response,
  host: string,
  most: number,
  what: string,
  limit: number,
  signal?: AbortSignal,
  slowest = SLOWEST,
): Promise<Uint8Array> {
  const until = performance.now() + slowest * limit;
  let bytes = new Uint8Array(Math.min(most, FIRST_BUFFER)), size = 0;
  for await (const chunk of bodyChunks(response, host, limit, signal)) {
    if (performance.now() > until) {
      throw broken(host, new Error(`${what} took over ${slowest * limit / 1000} seconds`), false);
    }
    const end = size + chunk.length;
    if (end > most) {
      throw new CosError("REGISTRY_ERROR", `Refused ${what}: it is longer than ${most} bytes.`, {
        hint: "No honest registry sends so much here; ask whoever runs it.",
      });
    }
    if (end > bytes.length) {
      const larger = new Uint8Array(Math.min(most, Math.max(2 * bytes.length, end)));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(chunk, size);
    size = end;
  }
  return bytes.subarray(0, size);
}

/** How the runtime, or nobody yet, undoes what was done to a body on its way; undefined: nothing was. */
export function encodingOf({ headers }: Response): string | undefined {
  const encoding = headers.get("content-encoding") ?? "";
  return encoding === "" || encoding.toLowerCase() === "identity" ? undefined : displayText(encoding, 32);
}

/** The first error that a registry's body names (distribution-spec, "Error codes"), on one line and cut short; else empty. */
export async function serverMessage(
  response: Response,
  host: string,
  limit: number,
  signal?: AbortSignal,
): Promise<string> {
  let answer: Record<string, unknown> | undefined;
  try {
    answer = parseObject(await readAll(response, host, MAX_SMALL_BODY, "the registry's error", limit, signal, 1));
  } catch (thrown) {
    signal?.throwIfAborted();
    // The status is what counts; the words are an extra, and a broken body must not hide it.
    if (!(thrown instanceof CosError)) throw thrown;
  }
  const errors = answer?.errors, first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const text = (typeof first === "object" && first !== null && "message" in first ? first.message : undefined) ??
    answer?.details ?? answer?.message;
  return typeof text === "string" ? displayText(text.replace(/\s+/g, " ").trim()) : "";
}

export function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined;
    throw cause;
  }
}
