/** Files of `KEY=VALUE` lines, as os-release(5) defines them. They are parsed, never executed. */

/** Later lines win. Lines that are no assignment are ignored, as os-release(5) asks of readers. */
export function parseKeyValues(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) values.set(match[1], unquote(match[2].trim()));
  }
  return values;
}

function unquote(text: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(text);
  if (quoted?.[1] !== undefined) return quoted[1].replace(/\\(["$`\\])/g, "$1");
  const single = /^'([^']*)'/.exec(text);
  if (single?.[1] !== undefined) return single[1];
  return text.replace(/\s+#.*$/, "");
}
