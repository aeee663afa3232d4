/** Standard output and error, written at once: nothing is left in a buffer when the program ends. */

export interface Output {
  out(text: string): void;
  err(text: string): void;
  /** Standard error is a terminal that can move its cursor. */
  readonly terminal: boolean;
  /** Columns of that terminal. */
  readonly width: number;
}

const encoder = new TextEncoder();

/** @param terminalType `TERM`. */
export function realOutput(terminalType: string | undefined): Output {
  return {
    out: (text) => writeAll(Deno.stdout, text),
    err: (text) => writeAll(Deno.stderr, text),
    get terminal() {
      return Deno.stderr.isTerminal() && terminalType !== "dumb";
    },
    get width() {
      try {
        return Deno.consoleSize().columns || 80;
      } catch {
        // No terminal, or one that does not tell: the width that everything fits.
        return 80;
      }
    },
  };
}

/**
 * What cannot be told must not steer what is done: a full log, a closed terminal or a reader that has gone never stops an upgrade
 * half way, nor keeps it from being undone.
 */
function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
  }
}
