/** Whether this machine is going down, and making it go down: through systemd where that runs it. */
import { CosError } from "../base/errors.ts";
import type { Kernel } from "./kernel.ts";
import { mustRun, type Programs } from "./process.ts";
import { runTimed } from "./timed-run.ts";

export interface Power {
  /** What systemd says of the machine: `running`, `degraded`, `stopping`, … Undefined where none can be asked. */
  state(signal: AbortSignal): Promise<string | undefined>;
  /** Asks for a reboot, in which services are stopped in order; returns at once. Throws `CosError`. */
  reboot(): Promise<void>;
}

/** systemd(1), "SIGNALS": SIGRTMIN+5 starts reboot.target. glibc's SIGRTMIN is 34. */
const SIGNAL_REBOOT = 39;
/** The directory by which sd_booted(3) knows that systemd runs the machine. */
const BOOTED = "/run/systemd/system";
/** Milliseconds. */
const LIMIT = 30_000;
const STATES = /^(?:initializing|starting|running|degraded|maintenance|stopping|offline|unknown)$/;

export class RealPower implements Power {
  constructor(readonly kernel: Pick<Kernel, "kill">, readonly programs: Programs) {}

  async state(signal: AbortSignal): Promise<string | undefined> {
    if (!systemdRuns()) return undefined;
    const end = await runTimed("systemctl", LIMIT, signal, { args: ["is-system-running"] });
    signal.throwIfAborted();
    // Every state but one ends with a status of its own.
    return end.kind === "exit" && STATES.test(end.lastLine) ? end.lastLine : undefined;
  }

  async reboot(): Promise<void> {
    if (!systemdRuns()) {
      await mustRun(this.programs, "reboot", [], "reboot the machine");
      return;
    }
    const first = firstProcess();
    if (first !== "systemd") {
      throw new CosError("SYSTEM_CALL", `Cannot reboot the machine: process 1 here is ${first}, not its systemd.`, {
        hint:
          "A pod needs hostPID: true, as the jobs of system-upgrade-controller have it. Or reboot the machine by hand.",
      });
    }
    this.kernel.kill(1, SIGNAL_REBOOT);
  }
}

function systemdRuns(): boolean {
  try {
    return Deno.statSync(BOOTED).isDirectory;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return false;
    throw thrown;
  }
}

function firstProcess(): string {
  try {
    return Deno.readTextFileSync("/proc/1/comm").trim();
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return "unknown";
    throw thrown;
  }
}
