/** Which of two versions is the older one. Versions that cannot be compared are no error: whoever asks has to say so. */

interface Semantic {
  numbers: readonly [bigint, bigint, bigint];
  /** Identifiers of a pre-release; empty for a release. */
  before: readonly string[];
}

/** semver.org 2.0.0, section 2 and 9 to 11; a leading `v` is let through, as tags have it. */
const SEMANTIC =
  /^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?$/;
/** deb-version(7): an epoch, and what begins with a digit. */
const DEBIAN = /^v?(?:([0-9]+):)?([0-9][A-Za-z0-9.+~-]*)$/;
const MAX_LENGTH = 128;

/** Below 0 where `a` is older, above where `b` is, 0 where neither is; undefined where they cannot be compared. */
export function compareVersions(a: string, b: string): number | undefined {
  if (a === b) return 0;
  if (a.length > MAX_LENGTH || b.length > MAX_LENGTH) return undefined;
  const [one, other] = [semantic(a), semantic(b)];
  if (one !== undefined && other !== undefined) return compareSemantic(one, other);
  const [first, second] = [DEBIAN.exec(a), DEBIAN.exec(b)];
  if (first === null || second === null) return undefined;
  const epochs = Number(first[1] ?? 0) - Number(second[1] ?? 0);
  return epochs !== 0 ? epochs : compareDebian(first[2] ?? "", second[2] ?? "");
}

function semantic(text: string): Semantic | undefined {
  const match = SEMANTIC.exec(text);
  if (match === null) return undefined;
  const [, major = "0", minor = "0", patch = "0", before] = match;
  return { numbers: [BigInt(major), BigInt(minor), BigInt(patch)], before: before?.split(".") ?? [] };
}

function compareSemantic(a: Semantic, b: Semantic): number {
  for (const [i, number] of a.numbers.entries()) {
    const other = b.numbers[i] ?? 0n;
    if (number !== other) return number < other ? -1 : 1;
  }
  // A pre-release comes before its release.
  if (a.before.length === 0 || b.before.length === 0) return b.before.length - a.before.length;
  for (const [i, one] of a.before.entries()) {
    const other = b.before[i];
    if (other === undefined) return 1;
    const compared = compareIdentifiers(one, other);
    if (compared !== 0) return compared;
  }
  return a.before.length - b.before.length;
}

/** Numbers by their value and before words, words by their bytes. */
function compareIdentifiers(a: string, b: string): number {
  const [one, other] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (one !== other) return one ? -1 : 1;
  if (one) return BigInt(a) === BigInt(b) ? 0 : BigInt(a) < BigInt(b) ? -1 : 1;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Upstream version and revision, which the last hyphen parts. */
function compareDebian(a: string, b: string): number {
  const parted = (text: string): [string, string] => {
    const hyphen = text.lastIndexOf("-");
    return hyphen < 0 ? [text, ""] : [text.slice(0, hyphen), text.slice(hyphen + 1)];
  };
  const [one, other] = [parted(a), parted(b)];
  return compareParts(one[0], other[0]) || compareParts(one[1], other[1]);
}

/** deb-version(7), "Sorting algorithm": runs of no digits and runs of digits in turn. */
function compareParts(a: string, b: string): number {
  let [one, other] = [a, b];
  while (one !== "" || other !== "") {
    const words = [/^[^0-9]*/.exec(one)?.[0] ?? "", /^[^0-9]*/.exec(other)?.[0] ?? ""] as const;
    const compared = compareWords(...words);
    if (compared !== 0) return compared;
    [one, other] = [one.slice(words[0].length), other.slice(words[1].length)];
    const numbers = [/^[0-9]*/.exec(one)?.[0] ?? "", /^[0-9]*/.exec(other)?.[0] ?? ""] as const;
    const difference = BigInt(numbers[0] || "0") - BigInt(numbers[1] || "0");
    if (difference !== 0n) return difference < 0n ? -1 : 1;
    [one, other] = [one.slice(numbers[0].length), other.slice(numbers[1].length)];
  }
  return 0;
}

/** A tilde comes before everything, even the end; letters before what is none. */
function compareWords(a: string, b: string): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = weight(a[i]) - weight(b[i]);
    if (difference !== 0) return difference;
  }
  return 0;
}

function weight(letter: string | undefined): number {
  if (letter === undefined) return 0;
  if (letter === "~") return -1;
  return /[A-Za-z]/.test(letter) ? letter.charCodeAt(0) : letter.charCodeAt(0) + 256;
}
