/** What a command line of an older tool asks for: both grammars come to this. */
import { CosError } from "../../lib/base/errors.ts";
import type { ImageRequest } from "../../lib/config/image-choice.ts";
import type { Statement } from "../../lib/config/settings.ts";

export interface LegacyRequest {
  /** The first generation is a shell script, the second `elemental`. */
  generation: 1 | 2;
  /** Flags that are settings. */
  statements: Statement[];
  word?: ImageRequest["word"];
  /** Flags without a meaning any more, each once. */
  warnings: string[];
  /** `--force`. */
  force?: boolean;
  debug?: boolean;
  quiet?: boolean;
  /** `--logfile`. */
  logFile?: string;
  /** `--config-dir`. */
  elemental?: string;
}

/** What only shows how it is used. */
export interface UsageRequest {
  generation: 1 | 2;
  usage: string;
}

export type Parsed = LegacyRequest | UsageRequest;

export function isUsage(parsed: Parsed): parsed is UsageRequest {
  return "usage" in parsed;
}

/** @param why completes "Cannot run TOOL: …". */
export function wrongUse(tool: string, why: string, usage: string): CosError {
  return new CosError("USAGE", `Cannot run ${tool}: ${why}.`, { hint: usage.trimEnd().split("\n").join("\n  ") });
}

export function withoutMeaning(flag: string, why: string): string {
  return `${flag} has no meaning any more: ${why}.`;
}
