/** YAML of settings, in which everything stays text (who reads a value says what it must be), and of documents with types. */
import { malformed } from "./configuration.ts";

// Imported like this, scripts/build can take it out of what is parsed at every start.
const { dump, FAILSAFE_SCHEMA, load, mergeTag, YAMLException } = await import("js-yaml");

/** A password of digits is one, as k3s reads it. Only `<<` has a meaning. */
const SCHEMA = FAILSAFE_SCHEMA.withTags(mergeTag);

/** A document of comments alone is an empty mapping. Throws `CONFIGURATION`. @param path for messages. */
export function parseYaml(content: string, path: string): unknown {
  return isBlank(content) ? {} : reading(path, () => load(content, { schema: SCHEMA, maxAliases: 1000 }));
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The words for nothing, in a document where all is text. */
export function isNothing(value: unknown): boolean {
  return value === "" || value === "~" || value === "null";
}

/** With numbers, truth and nothing as YAML 1.2 has them. Throws `CONFIGURATION`. */
export function parseTypedYaml(content: string, path: string): unknown {
  return isBlank(content) ? {} : reading(path, () => load(content, { maxAliases: 1000 }));
}

export function printYaml(document: unknown): string {
  return dump(document, { lineWidth: -1 });
}

function isBlank(content: string): boolean {
  return content.replace(/^\s*(?:#.*|---)?$/gm, "").trim() === "";
}

function reading(path: string, read: () => unknown): unknown {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof YAMLException)) throw thrown;
    // A password that begins with a star or an exclamation mark is an alias or a tag, and the parser quotes it.
    const reason = thrown.reason.replace(/ (?:"[^]*"|!<[^]*>)/g, "");
    throw malformed(path, reason, thrown.mark && thrown.mark.line + 1);
  }
}
