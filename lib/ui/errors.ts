/** Errors as people read them, and as programs do. */
import type { CosError } from "../base/errors.ts";

/** One sentence, one hint; the causes and the stack only where they are asked for. */
export function renderError(error: CosError, debug: boolean): string {
  const text = `Error: ${error.message}\n  ${error.hint}\n`;
  if (!debug) return text;
  let more = `  code ${error.code}, exit status ${error.exitStatus}\n`;
  const { output } = error.details;
  if (typeof output === "string" && output !== "") more += `${output.trimEnd()}\n`;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    more += `${cause.stack ?? cause.message}\n`;
  }
  return text + more;
}

export function errorJson(error: CosError): string {
  const { code, message, hint, details, exitStatus } = error;
  return `${JSON.stringify({ schemaVersion: 1, error: { code, exitStatus, message, hint, details } }, undefined, 2)}\n`;
}
