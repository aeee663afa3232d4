/** What readers of manifests, indexes and configurations have in common. All of it is written by strangers. */
import type * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";

/** Refuses what differs from one of the fields in the case of its letters alone; for Go's programs the long s is one, too. */
export function refuseTwins(value: unknown, fields: readonly string[], subject: string, what: string): void {
  if (typeof value !== "object" || value === null) return;
  const names = new Set(fields.map(folded));
  const twin = Object.keys(value).find((key) => !fields.includes(key) && key.length < 32 && names.has(folded(key)));
  if (twin === undefined) return;
  throw unsupported(subject, `its ${what} has a field ${displayText(twin)}, which other programs take for another`);
}

function folded(name: string): string {
  return name.toUpperCase().toLowerCase();
}

/** Throws `UNSUPPORTED_IMAGE`. */
export function parseJson(bytes: Uint8Array, subject: string, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unsupported(subject, `its ${what} is no JSON`, undefined, cause);
  }
}

/** Before the schema looks at each item: for a list of a million faults it would need seconds. */
export function limit(list: unknown, most: number, subject: string, what: string): void {
  if (!Array.isArray(list) || list.length <= most) return;
  throw unsupported(subject, `it has ${list.length} ${what}; at most ${most} are read`);
}

/** Throws `UNSUPPORTED_IMAGE` with the place of the first fault. */
export function check<T>(schema: z.ZodMiniType<T>, value: unknown, subject: string, what: string): T {
  let result;
  try {
    result = schema.safeParse(value);
  } catch (cause) {
    // Some hundred thousand faults in one object are more than the checker's own stack holds.
    if (!(cause instanceof RangeError)) throw cause;
    throw unsupported(subject, `its ${what} is malformed in too many places`, undefined, cause);
  }
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const place = issue === undefined || issue.path.length === 0
    ? ""
    : ` at ${displayText(issue.path.map(String).join("."))}`;
  throw unsupported(subject, `its ${what} is malformed${place}`);
}

/** @param subject what people named. */
export function unsupported(subject: string, why: string, hint?: string, cause?: unknown): CosError {
  return new CosError("UNSUPPORTED_IMAGE", `Cannot use ${subject}: ${why}.`, {
    hint: hint ?? "Name an image of an operating system, built for this machine's architecture.",
    cause,
  });
}
