/** When a request is made once more, and after how long: the rules of containers/image, `docker_client.go` and `body_reader.go`. */

/** So often one request is made in all. */
export const TRIES = 5;
/** A server that has not answered yet in this run may be a typo: people should not wait for minutes to be told. */
export const FIRST_TRIES = 3;
/** No new first try after this. Milliseconds. */
export const FIRST_LIMIT = 20_000;
/** The longest wait between tries that we choose ourselves. Milliseconds. */
const MAX_BACKOFF = 60_000;
/** A server's own `Retry-After` is kept to up to here; one that asks for more is given up at once. Milliseconds. */
export const MAX_RETRY_AFTER = 300_000;
/** A download that brought so much since the last break is taken up again, however often it breaks. Bytes. */
const MIN_PROGRESS = 1024 * 1024;
/** And one that lasted so long since the last break. Milliseconds. */
const MIN_LASTING = 60_000;

/** Too many requests, a proxy or a server that is busy: the same request may succeed later. Others stay as they are. */
export function mayPass(status: number): boolean {
  return status === 429 || status === 408 || (status >= 500 && status !== 501 && status !== 505);
}

/** 2, 4, 8 … 60 s. @param attempt the try that failed, from 1. Milliseconds. */
export function backoff(attempt: number): number {
  return Math.min(2000 * 2 ** (attempt - 1), MAX_BACKOFF);
}

/** 1 s and a little, so that not all machines of a fleet come back at once. Milliseconds. */
export function reconnectDelay(attempt = 1): number {
  return 1000 * 2 ** (attempt - 1) + Math.floor(Math.random() * 100);
}

/**
 * `Retry-After` (RFC 9110, section 10.2.3) in milliseconds from now, at least a second; undefined where there is none that can
 * be read. A date is compared with the server's own clock where it told it: the clock of this machine may be wrong.
 */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const text = headers.get("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Math.max(Number(text) * 1000, 1000);
  // Only what begins with a letter is a date: Date.parse takes "-1" for a year.
  const until = /^[A-Z]/i.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(until)) return undefined;
  const served = Date.parse(headers.get("date") ?? "");
  return Math.max(until - (Number.isNaN(served) ? now : served), 1000);
}

/** Decides for one download whether it is taken up again after a break. */
export class Reconnects {
  #attempts = 0;
  #last: { at: number; offset: number } | undefined;

  /**
   * Milliseconds to wait before the download goes on at `offset`; undefined: it is given up. What brought a mebibyte, or
   * lasted a minute and brought anything, since the last break always goes on, after a second; else four times in a row, each
   * after a longer wait.
   */
  next(offset: number, now: number): number | undefined {
    const last = this.#last;
    if (last !== undefined) {
      const progress = offset - last.offset;
      if (progress >= MIN_PROGRESS || (progress > 0 && now - last.at >= MIN_LASTING)) this.#attempts = 0;
    }
    this.#last = { at: now, offset };
    this.#attempts++;
    return this.#attempts < TRIES ? reconnectDelay(this.#attempts) : undefined;
  }
}
