/** What all of the machine's own configuration files have in common: how they are checked, and how their faults are told. */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";

/** @param line of the file, from 1. */
export function malformed(path: string, what: string, line?: number, cause?: unknown): CosError {
  const place = line === undefined ? path : `${path}, line ${line}`;
  return new CosError("CONFIGURATION", `Cannot use ${place}: ${displayText(what, 300)}.`, {
    hint: "Mend the file, or take it away: half of what it says could send the machine to the wrong registry.",
    cause,
  });
}

/** For messages: what is meant as a URL may hold a login, though none of these files may. */
export function withoutLogin(url: string): string {
  return url.replace(/^([^/]*\/\/)?[^/]*@/, "$1");
}

/** Throws `CONFIGURATION` with the place of the first value that is of a wrong kind. */
export function checked<T>(schema: z.ZodMiniType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues, place = (issue?.path ?? []).map(String).join(".");
  const expected = issue?.code === "invalid_type"
    ? `must be ${WORDS[issue.expected] ?? issue.expected}`
    : "is not allowed";
  throw malformed(path, place === "" ? `it ${expected}` : `"${place}" ${expected}`);
}

const WORDS: Record<string, string> = {
  array: "a list",
  boolean: "true or false",
  object: "a table",
  record: "a table",
  string: "a text",
};

/**
 * A host as the older tools and containers write it in front of a name, `HOST[:PORT]/REST`: undefined where the first part could
 * be a repository's. The rest is empty where there is no slash.
 */
export function splitHost(name: string): { host: string; rest: string } | undefined {
  const slash = name.indexOf("/"), host = slash < 0 ? name : name.slice(0, slash);
  if (!/[.:]/.test(host) && host !== "localhost") return undefined;
  return URL.canParse(`https://${host}`) ? { host, rest: slash < 0 ? "" : name.slice(slash + 1) } : undefined;
}
