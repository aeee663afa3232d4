/** The kernel's command line (Linux, Documentation/admin-guide/kernel-parameters.rst): words, quoted by `"` where they hold spaces. */

/** Every word as `NAME=VALUE`; a word without `=` has the value "". Of a name that is given twice the last value counts. */
export function parseKernelArguments(line: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [word] of line.matchAll(/(?:[^\s"]|"[^"]*(?:"|$))+/g)) {
    const text = word.replaceAll('"', ""), at = text.indexOf("=");
    if (at < 0) found.set(text, "");
    else found.set(text.slice(0, at), text.slice(at + 1));
  }
  return found;
}
