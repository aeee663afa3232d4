/** All that is outside this program, in one value that is passed in. */
import type { Kernel } from "./kernel.ts";
import { buildInfo } from "../base/build-info.ts";
import type { Labels } from "../base/labels.ts";
import type { TlsSettings } from "../formats/endpoint.ts";
import type { HttpSettings, RealHttp } from "./http.ts";
import type { Power } from "./power.ts";
import type { Programs } from "./process.ts";

export interface System {
  kernel: Kernel;
  programs: Programs;
  power: Power;
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so many milliseconds, or rejects with the signal's reason. */
  wait(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** What this machine's settings say of its labels; read at the first need. */
  labels(): Partial<Labels>;
  fetch(url: string, init?: RequestInit, tls?: TlsSettings): Promise<Response>;
  /** The process's own id, for paths that a child program can follow. */
  pid: number;
  /** The command that starts this program once more. */
  self: readonly string[];
}

/**
 * This machine. The kernel is opened at first use, and HTTP loaded then: a command that needs none pays nothing for it.
 * @param labels asked once. @param http where requests go and whom they trust; without it, as the runtime likes.
 */
export async function realSystem(
  http?: () => Promise<HttpSettings>,
  labels: () => Partial<Labels> = () => ({}),
): Promise<System> {
  const [{ LinuxKernel }, { RealPrograms }, { RealPower }] = await Promise.all([
    import("./linux-kernel.ts"),
    import("./process.ts"),
    import("./power.ts"),
  ]);
  const kernel = new LinuxKernel(), programs = new RealPrograms();
  let known: Partial<Labels> | undefined;
  return {
    kernel,
    programs,
    power: new RealPower(kernel, programs),
    now: () => Date.now(),
    wait,
    labels: () => known ??= labels(),
    fetch: http === undefined ? (url, init) => fetch(url, init) : lazyFetch(http),
    pid: Deno.pid,
    // The static file is its own executable; in a checkout that is Deno.
    self: buildInfo().commit === "development"
      ? [Deno.execPath(), "run", "-A", new URL("../../main.ts", import.meta.url).pathname]
      : ["/proc/self/exe"],
  };
}

function lazyFetch(settings: () => Promise<HttpSettings>): System["fetch"] {
  let made: Promise<RealHttp> | undefined;
  return async (url, init, tls) => {
    made ??= Promise.all([import("./http.ts"), settings()]).then(([{ RealHttp }, given]) => new RealHttp(given));
    return await (await made).fetch(url, init, tls);
  };
}

export function wait(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop);
  });
}
