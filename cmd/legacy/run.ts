/** Runs what an older tool's name and words ask for. */
import { displayText } from "../../lib/base/byte-string.ts";
import { CosError } from "../../lib/base/errors.ts";
import type { Events } from "../../lib/base/events.ts";
import { environment } from "../../lib/config/environment.ts";
import { chooseImage, imageOfSetting } from "../../lib/config/image-choice.ts";
import { operatorName } from "../../lib/config/operator.ts";
import { parseKernelArguments } from "../../lib/formats/kernel-arguments.ts";
import { readTextFile } from "../../lib/machine/files.ts";
import { rebrand } from "../../lib/operations/boot-menu.ts";
import { deploy } from "../../lib/operations/deploy.ts";
import { LEAST_KEPT } from "../../lib/operations/keeping.ts";
import { reset } from "../../lib/operations/reset.ts";
import { type Restart, restart } from "../../lib/operations/restart.ts";
import { upgradeRecovery } from "../../lib/operations/upgrade-recovery.ts";
import type { UpgradeSettings } from "../../lib/operations/upgrade.ts";
import { renderError } from "../../lib/ui/errors.ts";
import { renderRecovery, renderSlots } from "../../lib/ui/status.ts";
import { type CosContext, type Job, runJob } from "../context.ts";
import {
  imageSettings,
  type MachineSettings,
  machineSettings,
  saidBy,
  sourceSettings,
  wantedRestart,
} from "../settings.ts";
import { performUpgrade } from "../upgrade.ts";
import { CLEANUP_FAILED, newerStatus, OLDER_FAILURE, olderStatus, RESTART_FAILED } from "./exit-status.ts";
import { withLogFile } from "./log-file.ts";
import type { LegacyName } from "./names.ts";
import { isNewer, type NewerCommand, parseNewer, splitCommand } from "./newer.ts";
import { parseOlder } from "./older.ts";
import { isUsage, type LegacyRequest, type Parsed } from "./request.ts";

/** Milliseconds in which somebody can still stop the reboot of an upgrade that nobody watches. */
const REBOOT_DELAY = 5000;

type Tool = Exclude<LegacyName, "cos-rollback" | "suc-upgrade">;

export async function runLegacy(context: CosContext, tool: Tool, words: readonly string[]): Promise<void> {
  const newer = newerLine(tool, words);
  const statusOf = tool === "elemental" || newer !== undefined ? newerStatus : olderStatus;
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
  const { logFile, warnings } = request;
  await runJob(context, { debug, verbose: debug }, async (job) => {
    const run = async (logged: Job) => {
      for (const text of warnings) logged.events({ kind: "warning", text });
      status = await work(tool, newer?.command, request, logged);
    };
    const shown = request.quiet === true ? quiet(job) : job;
    await (logFile === undefined ? run(shown) : withLogFile(shown, logFile, run));
  }, statusOf);
  if (context.exitStatus === 0) context.exitStatus = status;
}

interface NewerLine {
  command: NewerCommand;
  /** Without the command. */
  rest: readonly string[];
}

/** What these are where their flags are of the second generation. */
const NEWER_NAMES: Partial<Record<Tool, NewerCommand>> = { "cos-upgrade": "upgrade", "cos-reset": "reset" };

/** Undefined for a command line of the first generation, and for what else `elemental` can do. */
function newerLine(tool: Tool, words: readonly string[]): NewerLine | undefined {
  if (tool === "elemental") return splitCommand(words);
  const command = NEWER_NAMES[tool];
  return command !== undefined && isNewer(words) ? { command, rest: words } : undefined;
}

function parse(tool: Tool, words: readonly string[], newer: NewerLine | undefined): Parsed {
  if (newer !== undefined) return parseNewer(tool, newer.command, newer.rest);
  if (tool === "elemental") throw notElemental();
  return parseOlder(tool, words);
}

/** Returns the exit status. */
async function work(
  tool: Tool,
  newer: NewerCommand | undefined,
  request: LegacyRequest,
  job: Job,
): Promise<number> {
  const machine = await machineSettings(request.statements, request.elemental), watched = lateFailures(job.events);
  const watchedJob = { ...job, events: watched.events };
  if (tool === "cos-rebrand") return await rebrandMenu(machine, watchedJob);
  const run = tool === "cos-reset" || newer === "reset"
    ? resetMachine
    : tool === "cos-deploy"
    ? deploySystem
    : upgradeSystem;
  const unstarted = await run(request, machine, watchedJob);
  if (request.generation === 1) return 0;
  if (unstarted !== undefined) return RESTART_FAILED[unstarted];
  return watched.failed() ? CLEANUP_FAILED : 0;
}

async function rebrandMenu(machine: MachineSettings, { system, events, print }: Job): Promise<number> {
  const { entry, changed } = await rebrand(system, machine, events);
  print(changed ? `The boot menu calls the system ${displayText(entry)}.\n` : "Nothing to do.\n");
  return 0;
}

/** Each returns the restart that was wanted and did not come. */
async function resetMachine(request: LegacyRequest, machine: MachineSettings, job: Job): Promise<Restart | undefined> {
  const { system, events, signal, print } = job, { resetImage, channel, resetPersistent, resetOem } = machine;
  const image = request.word !== undefined
    ? chooseImage(machine, { word: request.word, recovery: false })
    : resetImage.value === ""
    ? undefined
    : imageOfSetting(resetImage, channel.value);
  const settings = sourceSettings({}, machine, system, events);
  const by = operatorName(environment, system.kernel.getuid()), restart = wantedRestart(machine);
  const emptied = { persistent: resetPersistent.value, oem: resetOem.value };
  const slots = await reset(system, { ...settings, image, ...emptied, by }, events, signal);
  print(`Reset. The next boot starts the active system:\n${renderSlots(slots)}`);
  return await restartIf(restart, job);
}

async function deploySystem(request: LegacyRequest, machine: MachineSettings, job: Job): Promise<Restart | undefined> {
  const { system, events, signal, print } = job, settings = upgradeSettings(request, machine, job);
  try {
    const slots = await deploy(system, settings, events, signal);
    print(`Deployed. The next boot starts the active system:\n${renderSlots(slots)}`);
  } catch (thrown) {
    if (!(thrown instanceof CosError) || thrown.code !== "ALREADY_DEPLOYED" || request.force !== true) throw thrown;
    const text = "There is a system here already: it is upgraded, and stays as the one to fall back to.";
    events({ kind: "warning", text });
    await performUpgrade(job, settings, { json: false });
  }
  return undefined;
}

async function upgradeSystem(request: LegacyRequest, machine: MachineSettings, job: Job): Promise<Restart | undefined> {
  const settings = upgradeSettings(request, machine, job), wanted = wantedRestart(machine);
  if (machine.recovery.value) {
    // What the machine would start next is the same as before: it restarts only if that is said.
    job.print(renderRecovery(await upgradeRecovery(job.system, settings, job.events, job.signal)));
    return await restartIf(wanted, job);
  }
  const unattended = request.generation === 1 && request.word === undefined && !machine.interactive.value;
  const restart = wanted ?? (unattended ? restartOfKernelArguments() : undefined);
  const end = { json: false, restart, delay: unattended ? REBOOT_DELAY : 0 };
  const { restartFailed } = await performUpgrade(job, settings, end);
  return restartFailed ? restart : undefined;
}

function upgradeSettings(request: LegacyRequest, machine: MachineSettings, { system, events }: Job): UpgradeSettings {
  const image = chooseImage(machine, { word: request.word, recovery: machine.recovery.value });
  return {
    ...imageSettings(image, {}, machine, system, events),
    acceptRunning: false,
    retryBad: request.force === true,
    once: false,
    keep: LEAST_KEPT,
    allowDowngrade: request.force === true ? saidBy(system, "--force") : undefined,
  };
}

async function restartIf(how: Restart | undefined, { system, events, signal }: Job): Promise<Restart | undefined> {
  return how === undefined || await restart(system, how, 0, events, signal) ? undefined : how;
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
    output: { ...output, err: () => undefined },
    print: () => undefined,
  };
}

function notElemental(): CosError {
  return new CosError("USAGE", "Cannot run elemental like this: cos stands in for its upgrade and its reset only.", {
    hint: "For its other commands keep elemental itself, and call this one as: cos",
  });
}
