/**
 * Settings files that a shell once sourced (POSIX shell, 2.2 and 2.9.1): their assignments are read, and nothing is executed or
 * expanded. What a shell might have made something else of is marked, so that nobody takes it for what it says.
 */

export interface ShellAssignment {
  name: string;
  /** Without its quotes. */
  value: string;
  /** From 1. */
  line: number;
  /** Why the value cannot be relied on, completing "its value …". */
  fault?: string;
}

interface Word {
  name?: string;
  /** Without quotes; of an assignment, what stands behind the `=`. */
  text: string;
  line: number;
  fault?: string;
}

/** Between words; a line that ends in a backslash goes on. */
const BLANKS = /(?:[ \t\r]|\\\r?\n)+/y, COMMENT = /#[^\n]*/y;
const SINGLE = /'([^']*)'/y, DOUBLE = /"((?:[^"\\]+|\\[^])*)"/y, ESCAPED = /\\([^])/y, PLAIN = /[^\s'"\\;&|]+/y;
const REST = /[^\n]*/y;
/** What the shell would put something else for. */
const EXPANSION = /\$[A-Za-z0-9_{(@*#?!$-]|`/;
const OPENS = new Set(["if", "case", "while", "until", "for", "{", "("]);
const CLOSES = new Set(["fi", "esac", "done", "}", ")"]);

/** In their order; of one name the last counts. Any text is read: what is no assignment is passed over. */
export function parseShellAssignments(text: string): ShellAssignment[] {
  const found: ShellAssignment[] = [];
  let at = 0, line = 1, depth = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    line += match[0].split("\n").length - 1;
    return match[1] ?? match[0];
  };
  const word = (): Word => {
    const start = { at, line }, made: Word = { text: "", line };
    const first = take(PLAIN) ?? "", named = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(first);
    made.name = named?.[1];
    made.text = first.slice(named?.[0].length ?? 0);
    const expands = (piece: string) => {
      if (EXPANSION.test(piece)) made.fault = "holds what only a shell could expand";
      return piece;
    };
    expands(first);
    for (;;) {
      const single = take(SINGLE);
      const double = single === undefined ? take(DOUBLE) : undefined;
      const escaped = single === undefined && double === undefined ? take(ESCAPED) : undefined;
      if (single !== undefined) made.text += single;
      else if (double !== undefined) {
        expands(double.replace(/\\[^]/g, ""));
        made.text += double.replace(/\\\r?\n/g, "").replace(/\\([$`"\\])/g, "$1");
      } else if (escaped !== undefined) made.text += escaped === "\n" ? "" : escaped;
      else {
        const plain = take(PLAIN);
        if (plain === undefined) break;
        made.text += expands(plain);
      }
    }
    if (/['"\\]/.test(text.charAt(at))) {
      // A quote without its end, or a backslash at the file's: the lines below are read as if it were not there.
      made.fault = "has a quote without an end";
      take(REST);
    }
    // Whatever stands there, something was taken.
    if (at === start.at) at++;
    return made;
  };
  while (at < text.length) {
    const words: Word[] = [];
    let conditional = depth > 0;
    for (;;) {
      if (take(BLANKS) !== undefined) continue;
      const next = text.charAt(at);
      if (next === "#") take(COMMENT);
      else if (next === "" || next === "\n" || next === ";") break;
      else if (next === "&" || next === "|") {
        // What stands behind it, up to the line's end, may be done or not.
        conditional = true;
        at++;
      } else words.push(word());
    }
    if (text.charAt(at) === "\n") line++;
    at++;
    const first = words[0]?.text ?? "";
    if (words[0]?.name === undefined) depth = Math.max(0, depth + (OPENS.has(first) ? 1 : CLOSES.has(first) ? -1 : 0));
    found.push(...assignmentsOf(words, conditional));
  }
  return found;
}

function assignmentsOf(words: readonly Word[], conditional: boolean): ShellAssignment[] {
  const [first] = words, exported = first?.name === undefined && /^(?:export|readonly)$/.test(first?.text ?? "");
  const rest = exported ? words.slice(1) : words;
  const plain = !conditional && rest.every(({ name }) => name !== undefined);
  return rest.flatMap(({ name, text, line, fault }) => {
    if (name === undefined) return [];
    const why = fault ?? (plain ? undefined : "stands in a command, and commands are not run");
    return [{ name, value: text, line, ...why !== undefined && { fault: why } }];
  });
}
