/** What a run says as lines of a log file, of the form that the second generation's tools write: time, level, message. */
import type { CosEvent } from "../base/events.ts";
import { shortDigest } from "../base/digest.ts";
import { formatSize } from "../base/size.ts";

export type Level = "info" | "debug" | "warning" | "error";

/** Undefined for what only a terminal wants to know. @param at milliseconds since 1970. */
export function eventLine(event: CosEvent, at: number): string | undefined {
  switch (event.kind) {
    case "phase":
    case "wait":
      return logLine("info", event.text, at);
    case "layer": {
      const { index, layers, digest, bytes } = event;
      return logLine("debug", `layer ${index + 1} of ${layers}  ${shortDigest(digest)}  ${formatSize(bytes)}`, at);
    }
    case "output":
      return logLine("debug", `${event.program}: ${event.text}`, at);
    case "warning":
      return logLine("warning", event.text, at);
    case "progress":
      return undefined;
  }
}

/** @param text of any number of lines. @param at milliseconds since 1970. */
export function logLine(level: Level, text: string, at: number): string {
  const time = new Date(at).toISOString().replace(/\.[0-9]+Z$/, "Z");
  return `time="${time}" level=${level} msg=${JSON.stringify(text.trimEnd())}\n`;
}
