/** `config.yaml` of elemental-cli (to its v0.3), and the same values by the path of their keys: `upgrade.system.uri`. */
import { malformed } from "./configuration.ts";
import { isNothing, isTable, parseYaml } from "./yaml.ts";

/**
 * The values at these places, as text; at those of `lists`, also a list, whose texts are joined by commas. Throws `CONFIGURATION`,
 * also for a list or a table where a value belongs.
 */
export function readYamlValues(
  content: string,
  path: string,
  keys: readonly string[],
  lists: readonly string[] = [],
): Map<string, string> {
  const document = parseYaml(content, path), found = new Map<string, string>();
  if (!isTable(document)) throw malformed(path, "it is no table");
  for (const key of keys) {
    const said = valueAt(document, key.split(".")), isList = lists.includes(key);
    if (said === undefined || isNothing(said)) continue;
    const texts = isList && Array.isArray(said) ? said : [said];
    if (!texts.every((text) => typeof text === "string")) {
      throw malformed(path, `"${key}" must be a text${isList ? ", or a list of them" : ""}`);
    }
    found.set(key, texts.join(","));
  }
  return found;
}

function valueAt(table: unknown, [key = "", ...rest]: readonly string[]): unknown {
  const value = isTable(table) && Object.hasOwn(table, key) ? table[key] : undefined;
  return rest.length === 0 || value === undefined ? value : valueAt(value, rest);
}
