/**
 * Regular expressions as Go's `regexp` (RE2's syntax) understands them, as far as names of repositories need it. They stand in
 * configuration files, so what is not known here is refused by name, never read as something else; and matching takes time in
 * proportion to pattern times text, as Go's own does (its "bitstate" backtracker), whatever the pattern.
 */
import { type Assertion, MAX_TEXT, type Node, Parser, RegexpError, type Test, WORD } from "./go-regexp-syntax.ts";

export { RegexpError };

/** Instructions of one program, at the most. */
const MAX_PROGRAM = 4000;

type Instruction =
  | { op: "one"; test: Test }
  | { op: "assert"; what: Assertion }
  | { op: "save"; slot: number }
  | { op: "split"; first: number; second: number }
  | { op: "jump"; to: number }
  | { op: "match" };

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
