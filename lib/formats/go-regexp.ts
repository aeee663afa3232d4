/**
 * Regular expressions as Go's `regexp` (RE2's syntax) understands them, as far as names of repositories need it. They stand in
 * configuration files, so what is not known here is refused by name, never read as something else; and matching takes time in
 * proportion to pattern times text, as Go's own does (its "bitstate" backtracker), whatever the pattern.
 */

export class RegexpError extends Error {
  override readonly name = "RegexpError";
}

/** Instructions of one program, and characters of a pattern or a text, at the most. */
const MAX_PROGRAM = 4000;
const MAX_TEXT = 512;
/** RE2's own limit of `{n,m}`. */
const MAX_REPEAT = 1000;

type Test = (character: string) => boolean;

type Node =
  | { kind: "empty" }
  | { kind: "one"; test: Test }
  | { kind: "assert"; what: Assertion }
  | { kind: "group"; node: Node; index: number | undefined }
  | { kind: "sequence" | "either"; nodes: Node[] }
  | { kind: "repeat"; node: Node; least: number; most: number; greedy: boolean };

type Assertion = "start" | "end" | "boundary" | "inside";

type Instruction =
  | { op: "one"; test: Test }
  | { op: "assert"; what: Assertion }
  | { op: "save"; slot: number }
  | { op: "split"; first: number; second: number }
  | { op: "jump"; to: number }
  | { op: "match" };

const WORD: Test = (c) => /[0-9A-Za-z_]/.test(c);
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

export class GoRegexp {
  readonly #program: readonly Instruction[];
  readonly #names: ReadonlyMap<string, number>;
  readonly #groups: number;

  /** Throws `RegexpError`. */
  constructor(pattern: string) {
    const parser = new Parser(pattern), node = parser.parse();
    this.#program = compile({ kind: "group", node, index: 0 });
    this.#names = parser.names;
    this.#groups = parser.groups;
  }

  /** Each match replaced by the template, in which `$1`, `${1}` and `${name}` stand for groups: Go's `ReplaceAllString`. */
  replaceAll(text: string, template: string): string {
    if (text.length > MAX_TEXT) throw new RegexpError(`the text has more than ${MAX_TEXT} characters`);
    let result = "", last = 0, from = 0;
    while (from <= text.length) {
      const found = this.#match(text, from), [start = 0, end = 0] = found ?? [];
      if (found === undefined) break;
      result += text.slice(last, start);
      // Not for nothing directly behind a match.
      if (end > last || start === 0) result += this.#expand(template, text, found);
      last = end;
      from = Math.max(from + 1, end);
    }
    return result + text.slice(last);
  }

  #expand(template: string, text: string, found: readonly (number | undefined)[]): string {
    return template.replace(/\$(?:\$|\{([0-9A-Za-z_]+)\}|([0-9A-Za-z_]+))/g, (whole, braced, bare) => {
      if (whole === "$$") return "$";
      const name: string = braced ?? bare;
      const index = /^(?:0|[1-9][0-9]*)$/.test(name) ? Number(name) : this.#names.get(name);
      if (index === undefined || index > this.#groups) return "";
      const start = found[2 * index], end = found[2 * index + 1];
      return start === undefined || end === undefined ? "" : text.slice(start, end);
    });
  }

  /** The leftmost match from there on, and of those that begin there the one that Perl would find. */
  #match(text: string, from: number): (number | undefined)[] | undefined {
    const program = this.#program, width = text.length + 1;
    // Each instruction is tried once at each place: whatever failed there fails again.
    const visited = new Uint8Array(program.length * width);
    for (let start = from; start <= text.length; start++) {
      const slots: (number | undefined)[] = [];
      const jobs: ({ at: number; position: number } | { slot: number; old: number | undefined })[] = [];
      jobs.push({ at: 0, position: start });
      for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
        if ("slot" in job) {
          slots[job.slot] = job.old;
          continue;
        }
        let { at, position } = job;
        for (let going = true; going;) {
          const key = at * width + position, step = program[at];
          if (step === undefined || visited[key] === 1) break;
          visited[key] = 1;
          switch (step.op) {
            case "one":
              going = position < text.length && step.test(text.charAt(position));
              [at, position] = [at + 1, position + 1];
              break;
            case "assert":
              going = holds(step.what, text, position);
              at++;
              break;
            case "save":
              jobs.push({ slot: step.slot, old: slots[step.slot] });
              slots[step.slot] = position;
              at++;
              break;
            case "split":
              jobs.push({ at: step.second, position });
              at = step.first;
              break;
            case "jump":
              at = step.to;
              break;
            case "match":
              return slots;
          }
        }
      }
    }
    return undefined;
  }
}

function holds(what: Assertion, text: string, position: number): boolean {
  if (what === "start") return position === 0;
  if (what === "end") return position === text.length;
  const boundary = WORD(text.charAt(position - 1)) !== WORD(text.charAt(position));
  return boundary === (what === "boundary");
}

function compile(node: Node): Instruction[] {
  const program: Instruction[] = [];
  const emit = (instruction: Instruction): number => {
    if (program.length >= MAX_PROGRAM) throw new RegexpError("it is too large");
    return program.push(instruction) - 1;
  };
  const choice = (at: number, greedy: boolean, inside: number, behind: number) => {
    program[at] = { op: "split", first: greedy ? inside : behind, second: greedy ? behind : inside };
  };
  const add = (part: Node): void => {
    switch (part.kind) {
      case "empty":
        break;
      case "one":
        emit({ op: "one", test: part.test });
        break;
      case "assert":
        emit({ op: "assert", what: part.what });
        break;
      case "group":
        if (part.index !== undefined) emit({ op: "save", slot: 2 * part.index });
        add(part.node);
        if (part.index !== undefined) emit({ op: "save", slot: 2 * part.index + 1 });
        break;
      case "sequence":
        part.nodes.forEach(add);
        break;
      case "either": {
        const ends: number[] = [];
        part.nodes.forEach((one, i) => {
          const last = i === part.nodes.length - 1, split = last ? -1 : emit({ op: "jump", to: 0 });
          add(one);
          if (last) return;
          ends.push(emit({ op: "jump", to: 0 }));
          choice(split, true, split + 1, program.length);
        });
        for (const end of ends) program[end] = { op: "jump", to: program.length };
        break;
      }
      case "repeat": {
        const { node, least, most, greedy } = part;
        for (let i = 0, before = -1; i < least && before !== program.length; i++) {
          // What is nothing once is nothing a thousand times, and may itself be so made.
          before = program.length;
          add(node);
        }
        if (most === Infinity) {
          const split = emit({ op: "jump", to: 0 });
          add(node);
          emit({ op: "jump", to: split });
          choice(split, greedy, split + 1, program.length);
          break;
        }
        const splits: number[] = [];
        for (let i = least; i < most; i++) {
          splits.push(emit({ op: "jump", to: 0 }));
          add(node);
        }
        for (const split of splits) choice(split, greedy, split + 1, program.length);
      }
    }
  };
  add(node);
  emit({ op: "match" });
  return program;
}

class Parser {
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
