/** `config.yaml` of elemental-cli (to its v0.3), and the same values by the path of their keys: `upgrade.system.uri`. */
import { malformed } from "./configuration.ts";
import { isNothing, isTable, parseYaml } from "./yaml.ts";

/** The values at these places, as text. Throws `CONFIGURATION`, also for a list or a table where a value belongs. */
export function readYamlValues(content: string, path: string, keys: readonly string[]): Map<string, string> {
  const document = parseYaml(content, path), found = new Map<string, string>();
  if (!isTable(document)) throw malformed(path, "it is no table");
  for (const key of keys) {
    const value = valueAt(document, key.split("."));
    if (value === undefined || isNothing(value)) continue;
    if (typeof value !== "string") throw malformed(path, `"${key}" must be a text`);
    found.set(key, value);
  }
  return found;
}

function valueAt(table: unknown, [key = "", ...rest]: readonly string[]): unknown {
  const value = isTable(table) && Object.hasOwn(table, key) ? table[key] : undefined;
  return rest.length === 0 || value === undefined ? value : valueAt(value, rest);
}
