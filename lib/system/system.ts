/** All that is outside this program, in one value that is passed in. */
import type { Kernel } from "./kernel.ts";
import { buildInfo } from "../base/build-info.ts";
import type { Programs } from "./process.ts";

export interface System {
  kernel: Kernel;
  programs: Programs;
  /** Milliseconds since 1970. */
  now(): number;
  fetch(url: string, init?: RequestInit): Promise<Response>;
  /** The process's own id, for paths that a child program can follow. */
  pid: number;
  /** The command that starts this program once more. */
  self: readonly string[];
}

/** This machine. The kernel is opened at first use: a command that needs none pays nothing for it. */
export async function realSystem(): Promise<System> {
  const [{ LinuxKernel }, { RealPrograms }] = await Promise.all([
    import("./linux-kernel.ts"),
    import("./process.ts"),
  ]);
  return {
    kernel: new LinuxKernel(),
    programs: new RealPrograms(),
    now: () => Date.now(),
    fetch: (url, init) => fetch(url, init),
    pid: Deno.pid,
    // The static file is its own executable; in a checkout that is Deno.
    self: buildInfo().commit === "development"
      ? [Deno.execPath(), "run", "-A", new URL("../../main.ts", import.meta.url).pathname]
      : ["/proc/self/exe"],
  };
}
