/** One request to a server: redirects by hand, a limit of time for the answer, tries again where that may help. */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import type { TlsSettings } from "../formats/endpoint.ts";
import type { System } from "../system/system.ts";
import { serverMessage } from "./body.ts";
import { BodyError, ConnectionError, reasonOf, unreachable } from "./failure.ts";
import {
  backoff,
  FIRST_LIMIT,
  FIRST_TRIES,
  MAX_RETRY_AFTER,
  mayPass,
  reconnectDelay,
  retryAfter,
  TRIES,
} from "./retry.ts";

const MAX_REDIRECTS = 10;
/** What `stallLimit` is, unless a test cannot wait. Milliseconds. */
export const STALL_LIMIT = 30_000;

export interface Ask {
  url: URL;
  headers: Record<string, string>;
  /** For the origin of `url` alone, wherever redirects lead. */
  own?: Readonly<Record<string, string>>;
  tls: TlsSettings;
  /** The body of a POST; absent: a GET. */
  form?: URLSearchParams;
  /** As in "Cannot pull SUBJECT: WHO redirects …". */
  subject: string;
  who: string;
  signal?: AbortSignal;
}

export interface Answer {
  response: Response;
  /** Who gave it: where redirects ended. */
  from: URL;
}

export interface TransportOptions {
  userAgent: string;
  events: Events;
  /** A server that does not answer, or sends nothing, for so long is given up. Milliseconds. */
  stallLimit: number;
}

export class Transport {
  readonly stallLimit: number;
  readonly #system: Pick<System, "fetch" | "now" | "wait">;
  readonly #options: TransportOptions;
  /** Origins that have answered in this run. */
  readonly #known = new Set<string>();

  constructor(system: Pick<System, "fetch" | "now" | "wait">, options: TransportOptions) {
    this.#system = system;
    this.#options = options;
    this.stallLimit = options.stallLimit;
  }

  now(): number {
    return this.#system.now();
  }

  /** Waits, and says so. @param why a whole sentence up to the time that is waited. */
  async wait(milliseconds: number, why: string, signal: AbortSignal | undefined): Promise<void> {
    const seconds = Math.round(milliseconds / 1000);
    this.#options.events({ kind: "wait", text: `${why} ${seconds} s`, seconds });
    await this.#system.wait(milliseconds, signal);
    signal?.throwIfAborted();
  }

  warn(text: string): void {
    this.#options.events({ kind: "warning", text });
  }

  /**
   * The answer, whatever its status; one that may pass (429, 408, 5xx) only after all tries. Throws a `ConnectionError`,
   * or `REGISTRY_ERROR` where a redirect leads nowhere.
   */
  async ask(ask: Ask): Promise<Answer> {
    const begun = this.now();
    for (let attempt = 1;; attempt++) {
      let answer: Answer;
      try {
        answer = await this.#follow(ask);
      } catch (thrown) {
        ask.signal?.throwIfAborted();
        if (!(thrown instanceof ConnectionError) || !thrown.passing) throw thrown;
        const known = this.#known.has(ask.url.origin);
        if (attempt >= (known ? TRIES : FIRST_TRIES) || (!known && this.now() - begun >= FIRST_LIMIT)) throw thrown;
        await this.wait(reconnectDelay(attempt), `${withoutDot(thrown.message)}; trying again in`, ask.signal);
        continue;
      }
      const { response, from } = answer, { status, headers } = response;
      this.#known.add(ask.url.origin);
      if (!mayPass(status)) return answer;
      const told = retryAfter(headers, this.now()), delay = told ?? backoff(attempt);
      if (delay > MAX_RETRY_AFTER) throw await this.#tooLong(ask, answer, delay);
      if (attempt >= TRIES) return answer;
      await response.body?.cancel();
      const why = told === undefined
        ? `${from.host} answers with status ${status}; trying again in`
        : `${from.host} asks to wait${status === 429 ? " (too many requests)" : ""}; trying again in`;
      await this.wait(delay, why, ask.signal);
    }
  }

  /** Reads a small answer whole, and asks again where it broke in the middle; connecting has its own tries. */
  async again<T>(read: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (let attempt = 1;; attempt++) {
      try {
        return await read();
      } catch (thrown) {
        signal?.throwIfAborted();
        if (!(thrown instanceof BodyError) || !thrown.passing || attempt >= FIRST_TRIES) throw thrown;
        await this.wait(reconnectDelay(attempt), `${thrown.message} Trying again in`, signal);
      }
    }
  }

  /**
   * Redirects are followed by hand. Storage behind a registry is reached by URLs that are signed themselves: it must never see
   * the registry's credentials (and S3 answers 400 if it does).
   */
  async #follow({ url, headers, own, tls, form, subject, who, signal }: Ask): Promise<Answer> {
    const odd = (why: string) =>
      new CosError("REGISTRY_ERROR", `Cannot pull ${subject}: ${who} redirects ${why}.`, {
        hint: "Try again; if it stays so, ask whoever runs the registry.",
      });
    let target = url;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const all = headersOf(url, {
        "User-Agent": this.#options.userAgent,
        "Accept-Encoding": "identity",
        ...headers,
        ...(target.origin === url.origin ? own : {}),
      });
      const init: RequestInit = { headers: all, redirect: "manual" };
      if (form !== undefined) {
        all.set("Content-Type", "application/x-www-form-urlencoded");
        Object.assign(init, { method: "POST", body: form.toString() });
      }
      const response = await this.#fetch(target, init, settingsFor(target, url, tls), signal);
      const location = response.headers.get("location");
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return { response, from: target };
      await response.body?.cancel();
      const next = URL.parse(location, target);
      if (next === null) throw odd(`to "${displayText(location)}", which is no URL`);
      // What is posted is a login.
      if (form !== undefined && next.origin !== url.origin) throw odd(`a login to ${next.protocol}//${next.host}`);
      if (next.protocol !== "https:" && (next.protocol !== "http:" || target.protocol === "https:")) {
        throw odd(`to ${next.protocol}//${next.host}, which is not encrypted`);
      }
      target = next;
    }
    throw odd(`more than ${MAX_REDIRECTS} times`);
  }

  async #fetch(url: URL, init: RequestInit, tls: TlsSettings, signal: AbortSignal | undefined): Promise<Response> {
    // The limit is for the answer's head alone: a signal of fetch's that comes later would break the body off as well.
    const stalled = new AbortController(), timer = setTimeout(() => stalled.abort(), this.stallLimit);
    try {
      const either = signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]);
      return await this.#system.fetch(url.href, { ...init, signal: either }, tls);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof CosError) throw cause;
      const reason = reasonOf(cause, this.now());
      const text = stalled.signal.aborted ? `did not answer within ${this.stallLimit / 1000} seconds` : reason.text;
      throw unreachable(url.host, { ...reason, text, passing: stalled.signal.aborted || reason.passing }, cause);
    } finally {
      clearTimeout(timer);
    }
  }

  async #tooLong({ subject, who, signal }: Ask, { response, from }: Answer, delay: number): Promise<CosError> {
    const said = await serverMessage(response, from.host, this.stallLimit, signal),
      words = said === "" ? "" : ` (it says: ${said})`;
    const minutes = Math.ceil(delay / 60_000);
    const time = minutes < 120 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
    return new CosError("REGISTRY_ERROR", `Cannot pull ${subject}: ${who} asks to come back in ${time}${words}.`, {
      hint: "Run it again then. A login often has a higher limit than pulling without one: see docs/registries.md.",
      details: { status: response.status },
    });
  }
}

/**
 * A CA of the registry's is trusted for its token server and storage too: sites sign them with the same one. Its client
 * certificate, and the permission not to verify, are for its own host.
 */
function settingsFor(target: URL, asked: URL, tls: TlsSettings): TlsSettings {
  return target.hostname === asked.hostname ? tls : { ca: tls.ca };
}

/** What cannot be sent is not repeated: it may be a secret. */
function headersOf({ host }: URL, headers: Record<string, string>): Headers {
  try {
    return new Headers(headers);
  } catch {
    throw new CosError(
      "CONFIGURATION",
      `Cannot ask ${host}: a header for it has a name or a value that none may have.`,
      {
        hint: "Look at the headers that the configuration of mirrors has for this host.",
      },
    );
  }
}

function withoutDot(sentence: string): string {
  return sentence.replace(/\.$/, "");
}
