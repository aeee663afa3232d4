/** Go's regular expressions: what Go's own documentation and tests say, JavaScript's engine where both agree, and time. */
import assert from "node:assert/strict";
import { GoRegexp, RegexpError } from "../../lib/formats/go-regexp.ts";
import { Random } from "../lab/random.ts";

function replaced(pattern: string, text: string, template: string): string {
  return new GoRegexp(pattern).replaceAll(text, template);
}

Deno.test("k3s's own examples of rewrites", () => {
  assert.equal(
    replaced("^rancher/(.*)", "rancher/mirrored-pause", "mirrorproject/rancher-images/$1"),
    "mirrorproject/rancher-images/mirrored-pause",
  );
  assert.equal(replaced("(^.+$)", "library/busybox", "dockerhub/$1"), "dockerhub/library/busybox");
  assert.equal(replaced(".*", "a/b", "x"), "x");
});

Deno.test("replacing as Go's ReplaceAllString does", () => {
  // From Go's `regexp/all_test.go`, tables replaceTests and replaceLiteralTests.
  const cases: [pattern: string, template: string, text: string, result: string][] = [
    ["", "", "", ""],
    ["", "x", "", "x"],
    ["", "", "abc", "abc"],
    ["", "x", "abc", "xaxbxcx"],
    ["b", "", "abc", "ac"],
    ["b", "x", "abc", "axc"],
    ["a*", "x", "banana", "xbxnxnx"],
    ["a+", "x", "banana", "bxnxnx"],
    ["[^a-c]*", "x", "abcdabc", "xaxbxcxaxbxcx"],
    ["[a-c]*", "x", "abcbcdcdedef", "xdxdxexdxexfx"],
    ["^[a-c]*", "x", "abcbcdcdedef", "xdcdedef"],
    ["[a-c]*$", "x", "abcbcdcdedef", "abcbcdcdedefx"],
    ["(a)(b+)", "$2$1", "abb-ab", "bba-ba"],
    ["a+", "($0)", "banana", "b(a)n(a)n(a)"],
    ["hello, (.+)", "goodbye, ${1}", "hello, world", "goodbye, world"],
    ["hello, (.+)", "goodbye, $1x", "hello, world", "goodbye, "],
    ["hello, (.+)", "goodbye, ${1}x", "hello, world", "goodbye, worldx"],
    ["hello, (.+)", "goodbye, $", "hello, world", "goodbye, $"],
    ["hello, (.+)", "goodbye, ${1", "hello, world", "goodbye, ${1"],
    ["hello, (?P<noun>.+)", "goodbye, $noun!", "hello, world", "goodbye, world!"],
    ["hello, (?P<noun>.+)", "goodbye, ${noun}", "hello, world", "goodbye, world"],
    ["(?P<x>hi)|(?P<y>bye)", "$x$y", "hi bye", "hi bye"],
    ["a", "$$1", "a", "$1"],
  ];
  for (const [pattern, template, text, result] of cases) {
    assert.equal(replaced(pattern, text, template), result, `${pattern} → ${template} in ${text}`);
  }
});

Deno.test("classes, anchors, flags and repetitions", () => {
  const matches = (pattern: string, text: string) => replaced(pattern, text, "<$0>");
  assert.equal(matches(`[[:alpha:]]+`, "ab1"), "<ab>1");
  assert.equal(matches(`[^[:digit:]/]+`, "ab1/c"), "<ab>1/<c>");
  assert.equal(matches(`[]a-]+`, "a]-b"), "<a]->b");
  assert.equal(matches(`(?i)ABC`, "xaBc"), "x<aBc>");
  assert.equal(matches(`(?i:A)B`, "aB ab"), "<aB> ab");
  assert.equal(matches(`\\Aab\\z`, "ab"), "<ab>");
  assert.equal(matches(`\\bb`, "ab b"), "ab <b>");
  assert.equal(matches(`a{2,3}?`, "aaaa"), "<aa><aa>");
  assert.equal(matches(`a{,3}`, "a{,3}"), "<a{,3}>");
  assert.equal(matches(`x\\x{61}\\x62\\.`, "xab."), "<xab.>");
  assert.equal(matches(`(a|ab)(c|bcd)`, "abcd"), "<abcd>");
});

Deno.test("what Go has no meaning for is refused by name", () => {
  const refused = (pattern: string) => {
    try {
      new GoRegexp(pattern);
    } catch (thrown) {
      if (thrown instanceof RegexpError) return thrown.message;
      throw thrown;
    }
    return "accepted";
  };
  assert.equal(refused("a(?=b)"), "invalid or unsupported Perl syntax: `(?=`");
  assert.equal(refused("(?<!a)b"), "invalid named capture: `(?<!a)b`");
  assert.equal(refused(`(a)\\1`), "invalid escape sequence: `\\1`");
  assert.equal(refused(`a\\`), "trailing backslash at end of expression");
  assert.equal(refused("a**"), "invalid nested repetition operator: `**`");
  assert.equal(refused("*a"), "missing argument to repetition operator: `*`");
  assert.equal(refused("a)"), "unexpected ): `a)`");
  assert.equal(refused("(a"), "missing closing ): `(a`");
  assert.equal(refused("[a"), "missing closing ]: `[a`");
  assert.equal(refused("[z-a]"), "invalid character class range: `z-a`");
  assert.equal(refused("[[:letter:]]"), "invalid character class range: `[:letter:]`");
  assert.equal(refused("(a{1000}){1000}"), "invalid repeat count: `{1000}`");
  assert.equal(refused("a".repeat(513)), "it has more than 512 characters");
});

Deno.test("no pattern takes long, however it is nested", () => {
  // A backtracking engine would not come to an end here: the runner's own limit is what fails it.
  const text = "a".repeat(254) + "b";
  for (
    const pattern of [
      "(a+)+$",
      "(a|a)*$",
      "(a*)*c",
      "((a?){200}){3}c",
      "(.*)(.*)(.*)(.*)(.*)x$",
    ]
  ) {
    assert.equal(replaced(pattern, text, "").length <= text.length, true);
  }
});

Deno.test("two thousand random patterns do what JavaScript's do, where both languages agree", () => {
  const random = new Random(7);
  const atom = (depth: number): string => {
    const kind = random.next(depth > 0 ? 8 : 5);
    if (kind < 3) return random.pick(["a", "b", "/"]);
    if (kind === 3) return random.pick([".", "[ab]", "[^b]", "[a-b/]", "\\w"]);
    if (kind === 4) return random.pick(["\\b", "^", "$", "a"]);
    return `(${kind === 5 ? "?:" : ""}${sequence(depth - 1)})`;
  };
  const sequence = (depth: number): string => {
    let text = "";
    for (let i = random.next(4); i >= 0; i--) {
      const one = atom(depth);
      // Engines differ in loops of nothing, so only what takes a character is repeated.
      const solid = /^(?:[ab/.]|\[.*\]|\\w)$/.test(one);
      text += one + (solid ? random.pick(["", "", "*", "+", "?", "*?", "{1,2}", "{2}"]) : "");
      if (random.next(6) === 0) text += "|";
    }
    return text;
  };
  for (let round = 0; round < 2000; round++) {
    const pattern = sequence(2);
    const text = Array.from({ length: random.next(12) }, () => random.pick(["a", "b", "/"])).join("");
    const regexp = new GoRegexp(pattern), first = new RegExp(pattern).exec(text);
    // Only the first match: where empty ones follow, the languages count them differently.
    const marked = regexp.replaceAll(text, "<$0>").replace(/<.*$/, "").length;
    assert.equal(marked, first === null ? text.length : first.index, `${pattern} in ${text}`);
    if (first !== null && first[0] !== "") {
      const own = new GoRegexp(`(?:${pattern})`).replaceAll(text, "<$0|$1|$2>").slice(first.index);
      const expected = `<${first[0]}|${first[1] ?? ""}|${first[2] ?? ""}>`;
      assert.equal(own.slice(0, expected.length), expected, `${pattern} in ${text}`);
    }
  }
});
