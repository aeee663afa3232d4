/** The command lines of the second generation: `elemental upgrade` and `elemental reset`, with flags as Go's pflag reads them. */
import { CosError } from "../../lib/base/errors.ts";
import type { ImageRequest } from "../../lib/config/image-choice.ts";
import type { Statement } from "../../lib/config/settings.ts";
import { OLDER } from "./older.ts";
import { type Parsed, withoutMeaning, wrongUse } from "./request.ts";

export const NEWER_COMMANDS = ["upgrade", "reset"] as const;
export type NewerCommand = typeof NEWER_COMMANDS[number];

type Kind = "word" | "value";
const GLOBAL: Record<string, Kind> = {
  "--debug": "word",
  "--quiet": "word",
  "--help": "word",
  "--logfile": "value",
  "--config-dir": "value",
};
const COMMON: Record<string, Kind> = {
  ...GLOBAL,
  "--system.uri": "value",
  "--docker-image": "value",
  "--directory": "value",
  "--verify": "word",
  "--cosign": "word",
  "--cosign-key": "value",
  "--strict": "word",
  "--reboot": "word",
  "--poweroff": "word",
};
const FLAGS: Record<NewerCommand, Record<string, Kind>> = {
  upgrade: {
    ...COMMON,
    "--recovery": "word",
    "--recovery-system.uri": "value",
    "--local": "word",
    "--squash-compression": "value",
    "--squash-no-compression": "word",
  },
  reset: {
    ...COMMON,
    "--reset-persistent": "word",
    "--reset-oem": "word",
    "--disable-boot-entry": "word",
    "--tty": "value",
  },
};
const SHORT: Record<string, string> = { d: "--docker-image", x: "--squash-compression", h: "--help" };
const SOURCES = ["--system.uri", "--docker-image", "--directory"];
/** They are settings, with their own words. */
const STATEMENTS = [
  "--recovery",
  "--recovery-system.uri",
  "--reset-persistent",
  "--reset-oem",
  "--strict",
  "--reboot",
  "--poweroff",
];
const MTREE = "what is checked is the image's signature, not a list of its files";
const SQUASHFS = "a recovery system that is a squashfs is packed with xz";
const MEANINGLESS: Record<string, string> = {
  "--verify": MTREE,
  "--squash-compression": SQUASHFS,
  "--squash-no-compression": SQUASHFS,
  "--disable-boot-entry": "no boot entry of the firmware is written",
  "--tty": "the boot menu's terminal stays as it is",
};

/** A flag by its long name, and its value where it takes one; `true` or `false` otherwise. */
type Said = Map<string, string>;

/** Whether a command line of `cos-upgrade` can only be one of this generation. */
export function isNewer(words: readonly string[]): boolean {
  const older = new Set([...Object.keys(OLDER["cos-upgrade"].flags), "--help", "-h"]);
  return words.some((word) => word.startsWith("-") && !older.has(word));
}

/** `elemental [FLAGS] COMMAND [FLAGS]`: the command, and the words without it. Undefined where it is another one. */
export function splitCommand(words: readonly string[]): { command: NewerCommand; rest: string[] } | undefined {
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    const command = NEWER_COMMANDS.find((name) => name === word);
    if (command !== undefined) return { command, rest: words.toSpliced(i, 1) };
    if (!word.startsWith("-")) return undefined;
    // A global flag's value is no command.
    if (GLOBAL[word] === "value") i++;
  }
  return undefined;
}

/** @param tool for messages. Throws `USAGE`. */
export function parseNewer(tool: string, command: NewerCommand, words: readonly string[]): Parsed {
  const usage = usageOf(tool, command), flags = FLAGS[command], said = readFlags(tool, words, flags, usage);
  const wrong = (why: string) => wrongUse(tool, why, usage);
  if (said.get("--help") === "true") return { generation: 2, usage };
  const is = (flag: string) => said.get(flag) === "true";
  const sources = SOURCES.filter((flag) => said.has(flag));
  if (sources.length > 1) throw wrong(`${sources.join(" and ")} exclude each other`);
  if (is("--reboot") && is("--poweroff")) throw wrong("--reboot and --poweroff exclude each other");
  if (said.has("--cosign-key") && !is("--cosign")) throw wrong("--cosign-key needs --cosign");
  if (is("--local")) throw localDaemon(tool);
  const [source] = sources, statements: Statement[] = [];
  for (const key of STATEMENTS) {
    const value = said.get(key);
    if (value !== undefined) statements.push({ key, value });
  }
  if (is("--cosign")) statements.push({ key: "--cosign", value: "true" });
  const key = said.get("--cosign-key");
  if (key !== undefined) statements.push({ key: "--cosign-key", value: key });
  const warnings = Object.entries(MEANINGLESS).flatMap(([flag, why]) =>
    said.has(flag) && said.get(flag) !== "false" ? [withoutMeaning(flag, why)] : []
  );
  const word: ImageRequest["word"] = source === undefined ? undefined : {
    kind: source === "--directory" ? "directory" : "uri",
    text: said.get(source) ?? "",
  };
  const elemental = said.get("--config-dir");
  // As the older wrappers of that generation say it.
  const logFile = said.get("--logfile") ?? (tool === "elemental" ? undefined : "/tmp/elemental.log");
  return {
    generation: 2,
    statements,
    ...word !== undefined && { word },
    warnings,
    debug: is("--debug"),
    quiet: is("--quiet"),
    ...elemental !== undefined && { elemental },
    ...logFile !== undefined && { logFile },
  };
}

function readFlags(tool: string, words: readonly string[], flags: Record<string, Kind>, usage: string): Said {
  const said: Said = new Map();
  for (let i = 0; i < words.length; i++) {
    const { flag, value } = splitFlag(words[i] ?? ""), kind = Object.hasOwn(flags, flag) ? flags[flag] : undefined;
    if (kind === undefined) throw wrongUse(tool, `${JSON.stringify(words[i])} is not known`, usage);
    if (kind === "value") {
      const given = value ?? words[++i];
      if (given === undefined || given === "") throw wrongUse(tool, `${flag} wants a value`, usage);
      said.set(flag, given);
      continue;
    }
    const truth = /^(?:1|t|T|true|TRUE|True)$/.test(value ?? "true");
    if (!truth && !/^(?:0|f|F|false|FALSE|False)$/.test(value ?? "")) {
      throw wrongUse(tool, `${JSON.stringify(value)} is no value of ${flag}`, usage);
    }
    said.set(flag, String(truth));
  }
  return said;
}

/** `--flag`, `--flag=VALUE`, `-d`, `-dVALUE`, `-d=VALUE`. */
function splitFlag(word: string): { flag: string; value?: string } {
  const short = /^-([a-z])(?:=?([^]+))?$/.exec(word), long = short?.[1] === undefined ? undefined : SHORT[short[1]];
  if (long !== undefined) return { flag: long, value: short?.[2] };
  const equals = word.indexOf("=");
  return equals < 0 ? { flag: word } : { flag: word.slice(0, equals), value: word.slice(equals + 1) };
}

function usageOf(tool: string, command: NewerCommand): string {
  const flags = Object.entries(FLAGS[command]).map(([flag, kind]) => {
    const short = Object.entries(SHORT).find(([, long]) => long === flag)?.[0];
    return `  ${short === undefined ? "    " : `-${short}, `}${flag}${kind === "value" ? " VALUE" : ""}\n`;
  });
  return `Usage: ${tool === "elemental" ? `elemental ${command}` : tool} [FLAGS]\n${flags.join("")}`;
}

function localDaemon(tool: string): CosError {
  return new CosError("USAGE", `Cannot run ${tool} with --local: no image is read out of a running daemon.`, {
    hint: "Save it to a file: docker save IMAGE -o FILE; then: cos upgrade docker-archive:FILE",
  });
}
