/** Events as people see them: a line for each phase, and on a terminal one line that moves. */
import type { CosEvent, Events } from "../base/events.ts";
import { shortDigest } from "../base/digest.ts";
import { formatSize } from "../base/size.ts";
import type { Output } from "./output.ts";

/** The moving line is drawn at most so often. Milliseconds. */
const REDRAW = 100;

export class ProgressView {
  readonly #output: Output;
  readonly #now: () => number;
  #drawn = "";
  #lastDraw = 0;
  #startedAt: number;
  #layer: { index: number; layers: number; digest: string } | undefined;

  /** @param verbose lines that hooks print are shown. */
  constructor(output: Output, now: () => number, readonly verbose = false) {
    this.#output = output;
    this.#now = now;
    this.#startedAt = now();
  }

  readonly events: Events = (event) => {
    switch (event.kind) {
      case "phase":
        this.#line(`${event.text} …`);
        this.#startedAt = this.#now();
        return;
      case "layer":
        this.#layer = event;
        if (!this.#output.terminal) {
          this.#line(
            `  layer ${event.index + 1} of ${event.layers}  ${shortDigest(event.digest)}  ${formatSize(event.bytes)}`,
          );
        }
        return;
      case "progress":
        return this.#progress(event);
      case "wait":
        return this.#line(`  ${event.text}`);
      case "output":
        return this.verbose ? this.#line(`  ${event.program}: ${event.text}`) : undefined;
      case "warning":
        return this.#line(`Warning: ${event.text}`);
    }
  };

  /** Takes the moving line away; must be called before anything else is written. */
  clear(): void {
    if (this.#drawn !== "") this.#output.err(`\r\x1b[K`);
    this.#drawn = "";
  }

  #line(text: string): void {
    this.clear();
    this.#output.err(`${text}\n`);
  }

  #progress(event: CosEvent & { kind: "progress" }): void {
    const now = this.#now();
    if (!this.#output.terminal || (now - this.#lastDraw < REDRAW && event.done !== event.total)) return;
    this.#lastDraw = now;
    const text = progressLine(event, this.#layer?.digest, now - this.#startedAt, this.#output.width - 1);
    if (text === this.#drawn) return;
    this.#output.err(`\r\x1b[K${text}`);
    this.#drawn = text;
  }
}

/** One line of at most `width` columns. @param elapsed milliseconds since the phase began. */
export function progressLine(
  { done, total, layer, layers, entries }: CosEvent & { kind: "progress" },
  digest: string | undefined,
  elapsed: number,
  width: number,
): string {
  const speed = elapsed > 500 ? `  ${formatSize(done / elapsed * 1000)}/s` : "";
  if (total === 0) return `  ${entries} files  ${formatSize(done)}${speed}`.slice(0, width);
  const percent = Math.floor(done / total * 100);
  const cells = 20, filled = Math.floor(done / total * cells);
  const bar = `${"#".repeat(filled)}${".".repeat(cells - filled)}`;
  const rest = speed !== "" && done < total ? `  ${formatSeconds((total - done) / (done / elapsed) / 1000)} left` : "";
  const which = `layer ${layer + 1}/${layers}${digest === undefined ? "" : ` ${shortDigest(digest)}`}`;
  const text = `  [${bar}] ${String(percent).padStart(3)} %  ${formatSize(done)} of ${
    formatSize(total)
  }${speed}${rest}  ${which}`;
  return text.slice(0, width);
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
