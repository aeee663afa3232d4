/** A document with one thing in it changed, for each thing: what a verifier must not overlook. */

export interface Mutation {
  /** Which field, and what became of it. */
  name: string;
  value: unknown;
}

/** @param flips of bits in each field that is Base64, spread over all its bytes; `Infinity` for one in each byte. */
export function* mutationsOf(document: unknown, flips: number): Generator<Mutation> {
  for (const { name, value, replace } of leavesAndBranches(document, [], (changed) => changed)) {
    if (name !== "") yield { name: `${name}: left out`, value: replace(undefined) };
    if (typeof value === "number") {
      for (const other of [value + 1, value - 1, -1]) yield { name: `${name}: ${other}`, value: replace(other) };
    }
    if (typeof value !== "string") continue;
    for (const { what, text } of changedTexts(value, flips)) yield { name: `${name}: ${what}`, value: replace(text) };
  }
}

/** A field that is Base64. */
export interface BytesField {
  bytes: Uint8Array;
  /** The whole document with other bytes here. */
  replace(bytes: Uint8Array): unknown;
}

export function* base64Fields(document: unknown): Generator<BytesField> {
  for (const { value, replace } of leavesAndBranches(document, [], (changed) => changed)) {
    const bytes = typeof value === "string" ? base64Of(value) : undefined;
    if (bytes !== undefined) yield { bytes, replace: (other) => replace(other.toBase64()) };
  }
}

interface Place {
  name: string;
  value: unknown;
  /** The whole document with another value here; undefined takes the place out. */
  replace: (value: unknown) => unknown;
}

function* leavesAndBranches(value: unknown, path: string[], replace: Place["replace"]): Generator<Place> {
  yield { name: path.join("."), value, replace };
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const other = (changed: unknown) =>
        replace(changed === undefined ? value.toSpliced(i, 1) : value.with(i, changed));
      yield* leavesAndBranches(item, [...path, String(i)], other);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      const other = (changed: unknown) => {
        const { [key]: _, ...rest } = value as Record<string, unknown>;
        return replace(changed === undefined ? rest : { ...value, [key]: changed });
      };
      yield* leavesAndBranches(item, [...path, key], other);
    }
  }
}

function* changedTexts(text: string, flips: number): Generator<{ what: string; text: string }> {
  yield { what: "empty", text: "" };
  if (isNumber(text)) {
    for (const other of [Number(text) + 1, Math.max(Number(text) - 1, 0)]) {
      if (String(other) !== text) yield { what: "another number", text: String(other) };
    }
    return;
  }
  const bytes = base64Of(text);
  if (bytes === undefined) {
    for (const at of new Set([0, Math.floor(text.length / 2), text.length - 1])) {
      yield {
        what: `character ${at} changed`,
        text: text.slice(0, at) + (text[at] === "x" ? "y" : "x") + text.slice(at + 1),
      };
    }
    yield { what: "longer", text: `${text}x` };
    return;
  }
  yield { what: "cut short", text: bytes.subarray(0, -1).toBase64() };
  yield { what: "longer", text: new Uint8Array([...bytes, 0]).toBase64() };
  const step = Math.max(1, bytes.length / flips);
  for (let place = 0; place < bytes.length; place += step) {
    const at = Math.floor(place), bit = at % 8;
    yield { what: `bit ${bit} of byte ${at} flipped`, text: bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit)).toBase64() };
  }
}

const isNumber = (text: string) => /^\d+$/.test(text);

function base64Of(text: string): Uint8Array | undefined {
  if (text.length < 16 || isNumber(text)) return undefined;
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return undefined;
  }
}
