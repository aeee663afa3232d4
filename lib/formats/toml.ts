/** TOML 1.0, by `smol-toml`. This module is loaded only where there is a file to read: the parser costs time at every start. */
import { malformed } from "./configuration.ts";

// Imported like this, scripts/build can take it out of what is parsed at every start.
const { parse, TomlError } = await import("smol-toml");

/** Throws `CONFIGURATION` with the line. @param path for messages. */
export function parseToml(text: string, path: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (thrown) {
    if (thrown instanceof TomlError) {
      // The first line says what is wrong; a picture of the place follows, which may show a login: it is no cause either.
      const [what = ""] = thrown.message.replace(/^Invalid TOML document: /, "").split("\n");
      throw malformed(path, what, thrown.line);
    }
    // Arrays in arrays by the ten thousand are more than the parser's stack holds.
    if (thrown instanceof RangeError) throw malformed(path, "it is nested too deeply", undefined, thrown);
    throw thrown;
  }
}
