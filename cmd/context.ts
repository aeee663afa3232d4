/** What every command is given, and how every command ends. */
import { asCosError, CosError } from "../lib/base/errors.ts";
import type { Events } from "../lib/base/events.ts";
import { environment } from "../lib/config/environment.ts";
import { machineLabels } from "../lib/config/labels.ts";
import { errorJson, renderError } from "../lib/ui/errors.ts";
import type { Output } from "../lib/ui/output.ts";
import { ProgressView } from "../lib/ui/progress.ts";
import type { System } from "../lib/system/system.ts";
import type { CommandContext } from "@stricli/core";

export interface CosContext extends CommandContext {
  readonly output: Output;
  /** Set by a command that ran to an end; the parser's own errors set its own. */
  exitStatus: number;
}

/** Flags that every command has. */
export interface CommonFlags {
  readonly json?: boolean;
  readonly debug?: boolean;
  readonly state?: string;
}

export interface Job {
  system: System;
  events: Events;
  /** Aborted by SIGINT, SIGTERM and SIGHUP, with the error to throw. */
  signal: AbortSignal;
  output: Output;
  /** What was warned of so far: JSON for programs must not know less than people do. */
  warnings: readonly string[];
  /** Writes to standard output, after the moving line is taken away. */
  print(text: string): void;
}

/**
 * Runs a command's work: its result is what it prints; what it throws is rendered here, and becomes the exit status.
 * @param exitStatusOf of the older tools' names, which end with other numbers.
 */
export async function runJob(
  context: CosContext,
  flags: CommonFlags & { readonly verbose?: boolean },
  work: (job: Job) => Promise<void> | void,
  exitStatusOf = (error: CosError) => error.exitStatus,
) {
  const { output } = context, json = flags.json === true;
  const view = new ProgressView(output, () => Date.now(), flags.verbose === true);
  const signal = stopSignals(), warnings: string[] = [];
  const events: Events = (event) => {
    if (event.kind === "warning") warnings.push(event.text);
    if (!json) view.events(event);
  };
  try {
    const { realSystem } = await import("../lib/system/system.ts");
    const warn = (text: string) => events({ kind: "warning", text });
    const system: System = await realSystem(
      async () => {
        const [{ httpSettings }, { installedRoot }] = await Promise.all([
          import("../lib/config/http.ts"),
          import("../lib/operations/installed-root.ts"),
        ]);
        return httpSettings(environment, warn, installedRoot(system, { state: flags.state }, warn));
      },
      () => machineLabels("", environment, warn),
    );
    await work({
      system,
      events,
      warnings,
      signal,
      output,
      print: (text) => {
        view.clear();
        output.out(text);
      },
    });
  } catch (thrown) {
    view.clear();
    const error = asCosError(thrown);
    if (json) output.out(errorJson(error));
    else output.err(renderError(error, flags.debug === true));
    context.exitStatus = exitStatusOf(error);
  }
}

/** A command's result for programs. */
export function resultJson(operation: string, value: object): string {
  return `${JSON.stringify({ schemaVersion: 1, operation, ...value }, undefined, 2)}\n`;
}

/**
 * Signals ask the work to stop. They stay caught until the process ends: a second one must not kill the undoing, nor one that
 * comes late the last lines.
 */
function stopSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => {
      controller.abort(
        new CosError("INTERRUPTED", `Stopped by ${name}: everything that was begun is undone.`, {
          hint: "Run it again when you like; the system is as it was.",
        }),
      );
    });
  }
  return controller.signal;
}
