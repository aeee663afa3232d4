/** The syntax of Go's regular expressions (RE2's, "re2syntax"), read into a tree. What is not known here is refused by name. */

export class RegexpError extends Error {
  override readonly name = "RegexpError";
}

/** Characters of a pattern or a text, at the most. */
export const MAX_TEXT = 512;
/** RE2's own limit of `{n,m}`. */
const MAX_REPEAT = 1000;

export type Test = (character: string) => boolean;

export type Node =
  | { kind: "empty" }
  | { kind: "one"; test: Test }
  | { kind: "assert"; what: Assertion }
  | { kind: "group"; node: Node; index: number | undefined }
  | { kind: "sequence" | "either"; nodes: Node[] }
  | { kind: "repeat"; node: Node; least: number; most: number; greedy: boolean };

export type Assertion = "start" | "end" | "boundary" | "inside";

export const WORD: Test = (c) => /[0-9A-Za-z_]/.test(c);
const CLASSES: Record<string, Test> = {
  d: (c) => /[0-9]/.test(c),
  s: (c) => "\t\n\f\r ".includes(c),
  w: WORD,
};
const NAMED: Record<string, RegExp> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  ascii: /[\x00-\x7f]/,
  blank: /[\t ]/,
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[\t\n\v\f\r ]/,
  upper: /[A-Z]/,
  word: /[0-9A-Za-z_]/,
  xdigit: /[0-9A-Fa-f]/,
};
const CONTROL: Record<string, string> = { a: "\x07", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

export class Parser {
  readonly names = new Map<string, number>();
  groups = 0;
  #at = 0;
  #depth = 0;
  #foldCase = false;
  #dotAll = false;

  constructor(readonly pattern: string) {
    if (pattern.length > MAX_TEXT) throw new RegexpError(`it has more than ${MAX_TEXT} characters`);
  }

  parse(): Node {
    const node = this.#either();
    if (this.#at < this.pattern.length) throw new RegexpError("a ) has no (");
    return node;
  }

  #peek(text: string): boolean {
    return this.pattern.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  #takeMatch(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const match = expression.exec(this.pattern);
    this.#at += match?.[0].length ?? 0;
    return match;
  }

  #either(): Node {
    if (++this.#depth > 100) throw new RegexpError("its groups are nested too deeply");
    const nodes = [this.#sequence()];
    while (this.#take("|")) nodes.push(this.#sequence());
    this.#depth--;
    return nodes.length === 1 ? nodes[0] ?? { kind: "empty" } : { kind: "either", nodes };
  }

  #sequence(): Node {
    const nodes: Node[] = [];
    while (this.#at < this.pattern.length && !this.#peek("|") && !this.#peek(")")) {
      const node = this.#atom();
      if (node !== undefined) nodes.push(this.#repeated(node));
    }
    return { kind: "sequence", nodes };
  }

  #repeated(node: Node): Node {
    const start = this.#at, bounds = this.#bounds();
    if (bounds === undefined) return node;
    const greedy = !this.#take("?"), [least, most] = bounds;
    if (least > MAX_REPEAT || (most !== Infinity && most > MAX_REPEAT) || least > most) {
      throw new RegexpError(`"${this.pattern.slice(start, this.#at)}" repeats too often, or from more to less`);
    }
    if (this.#bounds() !== undefined) throw new RegexpError("two repetitions stand behind one another");
    return { kind: "repeat", node, least, most, greedy };
  }

  #bounds(): [number, number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    // Anything else in braces is text.
    const match = this.#takeMatch(/\{([0-9]{1,9})(,([0-9]{0,9}))?\}/y);
    if (match === null) return undefined;
    const least = Number(match[1]);
    return [least, match[2] === undefined ? least : match[3] === "" ? Infinity : Number(match[3])];
  }

  #atom(): Node | undefined {
    if (this.#take("(")) return this.#group();
    if (this.#take("[")) return { kind: "one", test: this.#folded(this.#class()) };
    if (this.#take("^")) return { kind: "assert", what: "start" };
    if (this.#take("$")) return { kind: "assert", what: "end" };
    if (this.#take(".")) {
      const all = this.#dotAll;
      return { kind: "one", test: (c) => all || c !== "\n" };
    }
    if (this.#take("\\")) return this.#escape();
    const character = this.pattern.charAt(this.#at);
    if ("*+?".includes(character)) throw new RegexpError(`"${character}" has nothing to repeat`);
    this.#at++;
    return { kind: "one", test: this.#folded((c) => c === character) };
  }

  /** A group, or flags for what follows (then there is no node). */
  #group(): Node | undefined {
    const outer = [this.#foldCase, this.#dotAll] as const;
    let index: number | undefined;
    if (this.#take("?")) {
      const name = this.#takeMatch(/P?<([A-Za-z_][0-9A-Za-z_]*)>/y)?.[1];
      if (name !== undefined) {
        index = ++this.groups;
        if (this.names.has(name)) throw new RegexpError(`two groups have the name "${name}"`);
        this.names.set(name, index);
      } else {
        const flags = this.#takeMatch(/([is]*)(?:-([is]+))?([:)])/y);
        if (flags === null) {
          throw new RegexpError(`a group begins with "(?${this.pattern.charAt(this.#at)}", which is not known here`);
        }
        const [, on = "", off = "", end] = flags;
        if (on.includes("i")) this.#foldCase = true;
        if (on.includes("s")) this.#dotAll = true;
        if (off.includes("i")) this.#foldCase = false;
        if (off.includes("s")) this.#dotAll = false;
        if (end === ")") return undefined;
      }
    } else index = ++this.groups;
    const node = this.#either();
    if (!this.#take(")")) throw new RegexpError("a ( has no )");
    [this.#foldCase, this.#dotAll] = outer;
    return { kind: "group", node, index };
  }

  #escape(): Node {
    const letter = this.pattern.charAt(this.#at);
    const assertion = ({ A: "start", z: "end", b: "boundary", B: "inside" } as const)[letter];
    if (assertion !== undefined) {
      this.#at++;
      return { kind: "assert", what: assertion };
    }
    const set = this.#setEscape();
    if (set !== undefined) return { kind: "one", test: set };
    const character = this.#characterEscape();
    return { kind: "one", test: this.#folded((c) => c === character) };
  }

  /** `\d` and its like. */
  #setEscape(): Test | undefined {
    const letter = this.pattern.charAt(this.#at), test = CLASSES[letter.toLowerCase()];
    if (test === undefined) return undefined;
    this.#at++;
    return letter === letter.toLowerCase() ? test : (c) => !test(c);
  }

  #characterEscape(): string {
    const hex = this.#takeMatch(/x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})/y);
    if (hex !== null) return String.fromCodePoint(Math.min(parseInt(hex[1] ?? hex[2] ?? "0", 16), 0x10ffff));
    const letter = this.pattern.charAt(this.#at++), control = CONTROL[letter];
    if (control !== undefined) return control;
    if (letter === "" || /[0-9A-Za-z]/.test(letter)) throw new RegexpError(`"\\${letter}" is not known here`);
    return letter;
  }

  #class(): Test {
    const negated = this.#take("^"), tests: Test[] = [];
    for (let first = true; first || !this.#take("]"); first = false) {
      if (this.#at >= this.pattern.length) throw new RegexpError("a [ has no ]");
      const named = this.#takeMatch(/\[:(\^?)([a-z]+):\]/y);
      if (named !== null) {
        const expression = NAMED[named[2] ?? ""], not = named[1] === "^";
        if (expression === undefined) throw new RegexpError(`"${named[0]}" is no class of characters`);
        tests.push((c) => expression.test(c) !== not);
        continue;
      }
      const low = this.#classItem();
      if (typeof low !== "string") {
        tests.push(low);
        continue;
      }
      let high = low;
      if (this.#peek("-") && this.pattern.charAt(this.#at + 1) !== "]") {
        this.#at++;
        const item = this.#at < this.pattern.length ? this.#classItem() : "";
        if (typeof item !== "string" || item < low) {
          throw new RegexpError(`a range begins with "${low}" and does not end`);
        }
        high = item;
      }
      tests.push((c) => low <= c && c <= high);
    }
    return (c) => tests.some((test) => test(c)) !== negated;
  }

  #classItem(): string | Test {
    if (this.#take("\\")) return this.#setEscape() ?? this.#characterEscape();
    return this.pattern.charAt(this.#at++);
  }

  #folded(test: Test): Test {
    return this.#foldCase ? (c) => test(c.toLowerCase()) || test(c.toUpperCase()) : test;
  }
}
