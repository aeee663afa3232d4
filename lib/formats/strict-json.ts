/**
 * JSON that two readers cannot take for two things: RFC 8259 leaves open which of two equal names in an object counts, and
 * Go's and JavaScript's readers differ from others there. What is signed, or says whom to trust, is read by this one.
 */
import { displayText } from "../base/byte-string.ts";
import { FormatError } from "./format-error.ts";

/** Signed documents nest by less than ten. */
const MAX_DEPTH = 32;

/**
 * @param maxBytes of the document; longer ones are refused unread.
 * Throws `FormatError`: also for what is not UTF-8, for a second document behind the first, and for a name twice in one object.
 */
export function parseStrictJson(bytes: Uint8Array, maxBytes: number): unknown {
  if (bytes.length > maxBytes) throw new FormatError(`it has ${bytes.length} bytes; at most ${maxBytes} are read`);
  let text: string;
  try {
    // A byte order mark stays, and is then no JSON.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError("it is not UTF-8", { cause });
  }
  // Before the parser builds anything of it: a million brackets are few bytes and much memory.
  refuseTwinsAndDepth(text);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError("it is no JSON", { cause });
  }
}

/** Looks at strings and brackets alone, so it may be given what is no JSON: the parser comes behind it. */
function refuseTwinsAndDepth(text: string): void {
  /** One for each open bracket: an object's names so far; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
      case "[":
        if (open.push(text[at] === "{" ? new Set() : undefined) > MAX_DEPTH) {
          throw new FormatError("it is nested too deeply");
        }
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case '"': {
        const start = at;
        for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
        const names = open.at(-1);
        if (names !== undefined && isName(text, at + 1)) add(names, text.slice(start, at + 1));
      }
    }
  }
}

/** Whether what ends before `at` is a name: a colon follows. */
function isName(text: string, at: number): boolean {
  while (" \t\r\n".includes(text[at] ?? "-")) at++;
  return text[at] === ":";
}

function add(names: Set<string>, quoted: string): void {
  let name: string;
  try {
    // One name can be written in many ways: "a" is "\u0061".
    name = JSON.parse(quoted);
  } catch (cause) {
    throw new FormatError("it is no JSON", { cause });
  }
  if (names.has(name)) throw new FormatError(`it has the name "${displayText(name, 60)}" twice in one object`);
  names.add(name);
}
