/**
 * Regular expressions as Go's `regexp` understands them, by `re2js`: its syntax is RE2's, and its matching takes time in
 * proportion to pattern times text, whatever the pattern. What is here is how Go replaces.
 */

// Imported like this, scripts/build can take it out of what is parsed at every start.
const { RE2JS, RE2JSException } = await import("re2js");

/** Characters of a pattern, and of a text: names of repositories have 255 at the most. */
const MAX_TEXT = 512;

export class RegexpError extends Error {
  override readonly name = "RegexpError";
}

export class GoRegexp {
  readonly #pattern: InstanceType<typeof RE2JS>;

  /** Throws `RegexpError`. */
  constructor(pattern: string) {
    if (pattern.length > MAX_TEXT) throw new RegexpError(`it has more than ${MAX_TEXT} characters`);
    try {
      this.#pattern = RE2JS.compile(pattern);
    } catch (thrown) {
      if (!(thrown instanceof RE2JSException)) throw thrown;
      throw new RegexpError(thrown.message.replace(/^error parsing regexp: /, ""), { cause: thrown });
    }
  }

  /** Each match replaced by the template, in which `$1`, `${1}` and `${name}` stand for groups: Go's `ReplaceAllString`. */
  replaceAll(text: string, template: string): string {
    if (text.length > MAX_TEXT) throw new RegexpError(`the text has more than ${MAX_TEXT} characters`);
    const matcher = this.#pattern.matcher(text);
    let result = "", last = 0;
    for (let from = 0; from <= text.length && matcher.find(from);) {
      const start = matcher.start(0), end = matcher.end(0);
      result += text.slice(last, start);
      // Not for nothing directly behind a match.
      if (end > last || start === 0) {
        result += this.#expand(template, (group) => {
          const begins = matcher.start(group);
          return begins < 0 ? "" : text.slice(begins, matcher.end(group));
        });
      }
      last = end;
      from = Math.max(from + 1, end);
    }
    return result + text.slice(last);
  }

  #expand(template: string, group: (index: number) => string): string {
    const names = this.#pattern.namedGroups();
    return template.replace(/\$(?:\$|\{([0-9A-Za-z_]+)\}|([0-9A-Za-z_]+))/g, (whole, braced, bare) => {
      if (whole === "$$") return "$";
      const name: string = braced ?? bare;
      const index = /^(?:0|[1-9][0-9]*)$/.test(name) ? Number(name) : names[name];
      return index === undefined || index > this.#pattern.groupCount() ? "" : group(index);
    });
  }
}
