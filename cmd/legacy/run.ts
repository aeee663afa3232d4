/** Runs what an older tool's name and words ask for. */
import { displayText } from "../../lib/base/byte-string.ts";
import { CosError } from "../../lib/base/errors.ts";
import type { Events } from "../../lib/base/events.ts";
import { environment } from "../../lib/config/environment.ts";
import { chooseImage } from "../../lib/config/image-choice.ts";
import { parseKernelArguments } from "../../lib/formats/kernel-arguments.ts";
import { readTextFile } from "../../lib/machine/files.ts";
import { rebrand } from "../../lib/operations/boot-menu.ts";
import { deploy } from "../../lib/operations/deploy.ts";
import type { Restart } from "../../lib/operations/restart.ts";
import type { UpgradeSettings } from "../../lib/operations/upgrade.ts";
import { renderError } from "../../lib/ui/errors.ts";
import { renderSlots } from "../../lib/ui/status.ts";
import { type CosContext, type Job, runJob } from "../context.ts";
import { imageSettings, machineSettings, saidBy, wantedRestart } from "../settings.ts";
import { performUpgrade } from "../upgrade.ts";
import { CLEANUP_FAILED, newerStatus, OLDER_FAILURE, olderStatus, RESTART_FAILED } from "./exit-status.ts";
import type { LegacyName } from "./names.ts";
import { isNewer, type NewerCommand, parseNewer, splitCommand } from "./newer.ts";
import { parseOlder } from "./older.ts";
import { isUsage, type LegacyRequest, type Parsed } from "./request.ts";

/** Milliseconds in which somebody can still stop the reboot of an upgrade that nobody watches. */
const REBOOT_DELAY = 5000;

type Tool = Exclude<LegacyName, "cos-rollback">;

export async function runLegacy(context: CosContext, tool: Tool, words: readonly string[]): Promise<void> {
  const newer = newerCommand(tool, words), statusOf = newer === undefined ? olderStatus : newerStatus;
  let parsed: Parsed;
  try {
    parsed = parse(tool, words, newer);
  } catch (thrown) {
    if (!(thrown instanceof CosError)) throw thrown;
    context.output.err(renderError(thrown, false));
    context.exitStatus = statusOf(thrown);
    return;
  }
  if (isUsage(parsed)) {
    context.output.out(parsed.usage);
    context.exitStatus = parsed.generation === 1 ? OLDER_FAILURE : 0;
    return;
  }
  const request = parsed, debug = request.debug === true || (environment("COS_DEBUG") ?? "") !== "";
  let status = 0;
  await runJob(context, { debug, verbose: debug }, async (job) => {
    for (const text of request.warnings) job.events({ kind: "warning", text });
    status = await work(tool, newer, request, request.quiet === true ? quiet(job) : job);
  }, statusOf);
  if (context.exitStatus === 0) context.exitStatus = status;
}

/** Undefined for a command line of the first generation. */
function newerCommand(tool: Tool, words: readonly string[]): NewerCommand | "other" | undefined {
  if (tool === "elemental") return splitCommand(words)?.command ?? "other";
  if (!isNewer(words)) return undefined;
  return tool === "cos-upgrade" ? "upgrade" : tool === "cos-reset" ? "reset" : undefined;
}

function parse(tool: Tool, words: readonly string[], newer: NewerCommand | "other" | undefined): Parsed {
  if (newer === "other") throw notElemental();
  if (tool === "elemental") {
    const { command, rest } = splitCommand(words) ?? { command: newer ?? "upgrade", rest: [] };
    return parseNewer(tool, command, rest);
  }
  return newer === undefined ? parseOlder(tool, words) : parseNewer(tool, newer, words);
}

/** Returns the exit status. */
async function work(
  tool: Tool,
  newer: NewerCommand | "other" | undefined,
  request: LegacyRequest,
  job: Job,
): Promise<number> {
  if (tool === "cos-rebrand") return await rebrandMenu(request, job);
  if (tool === "cos-reset" || newer === "reset") throw notYet("reset this machine");
  return await upgradeOrDeploy(tool, request, job);
}

async function rebrandMenu({ statements }: LegacyRequest, { system, events, print }: Job): Promise<number> {
  const { entry, changed } = await rebrand(system, await machineSettings(statements), events);
  print(changed ? `The boot menu calls the system ${displayText(entry)}.\n` : "Nothing to do.\n");
  return 0;
}

async function upgradeOrDeploy(tool: Tool, request: LegacyRequest, job: Job): Promise<number> {
  const { system, signal, print } = job, machine = await machineSettings(request.statements, request.elemental);
  const watched = lateFailures(job.events), { events } = watched;
  if (tool !== "cos-deploy" && machine.recovery.value) throw notYet("upgrade the recovery system");
  const image = chooseImage(machine, { word: request.word, recovery: false });
  const settings: UpgradeSettings = {
    ...imageSettings(image, {}, machine, system, events),
    acceptRunning: false,
    retryBad: request.force === true,
    once: false,
    allowDowngrade: request.force === true ? saidBy(system, "--force") : undefined,
  };
  if (tool === "cos-deploy") {
    try {
      print(
        `Deployed. The next boot starts the active system:\n${
          renderSlots(await deploy(system, settings, events, signal))
        }`,
      );
      return 0;
    } catch (thrown) {
      if (!(thrown instanceof CosError) || thrown.code !== "ALREADY_DEPLOYED" || request.force !== true) throw thrown;
      const text = "There is a system here already: it is upgraded, and stays as the one to fall back to.";
      events({ kind: "warning", text });
    }
  }
  const unattended = tool !== "cos-deploy" && request.generation === 1 && request.word === undefined &&
    !machine.interactive.value;
  const restart = wantedRestart(machine) ?? (unattended ? restartOfKernelArguments() : undefined);
  const end = { json: false, restart, delay: unattended ? REBOOT_DELAY : 0 };
  const { restartFailed } = await performUpgrade({ ...job, events }, settings, end);
  if (request.generation === 1) return 0;
  if (restartFailed && restart !== undefined) return RESTART_FAILED[restart];
  return watched.failed() ? CLEANUP_FAILED : 0;
}

function restartOfKernelArguments(): Restart {
  const given = parseKernelArguments(readTextFile("/proc/cmdline") ?? "").get("cos.upgrade.power_off");
  return given === "true" ? "poweroff" : "reboot";
}

/** Whether something failed behind what was asked. */
function lateFailures(events: Events): { events: Events; failed(): boolean } {
  let failed = false;
  return {
    events: (event) => {
      if (event.kind === "warning" && event.late === true) failed = true;
      events(event);
    },
    failed: () => failed,
  };
}

/** `--quiet`: warnings and errors only. */
function quiet(job: Job): Job {
  const { output } = job;
  return {
    ...job,
    events: (event) => {
      if (event.kind === "warning") job.events(event);
    },
    output: { ...output, terminal: output.terminal, width: output.width, err: () => undefined },
    print: () => undefined,
  };
}

function notYet(what: string): CosError {
  return new CosError("USAGE", `Cannot ${what}: this version of cos does not do that.`, {
    hint: "Everything is as it was. What it does: cos --help",
  });
}

function notElemental(): CosError {
  return new CosError("USAGE", "Cannot run elemental like this: cos stands in for its upgrade and its reset only.", {
    hint: "For its other commands keep elemental itself, and call this one as: cos",
  });
}
