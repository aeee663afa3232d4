/** What `cos boot …` says to people. Pure. */
import type { GoodOutcome } from "../operations/boot-good.ts";
import type { MountedRoot } from "../operations/boot-root.ts";
import type { BootStatus } from "../operations/boot-status.ts";

export function renderBootStatus(status: BootStatus): string {
  const { counts, obstacle, tries, next, running, marksItself, failedChecks, knownBad } = status;
  const lines = [
    counts ? "GRUB counts boots here." : `GRUB does not count boots here: ${obstacle?.text ?? "nothing says why"}.`,
    `Next boot: the ${next} system${tries === "0" ? ", because the tries of the active one are used up" : ""}.`,
  ];
  if (running !== undefined) {
    lines.push(`Running: the ${running} system${status.runningIsOnTrial ? ", on trial" : ""}.`);
  }
  if (counts && tries !== "" && tries !== "0") lines.push(`Tries left: ${tries}; then the passive system boots.`);
  if (status.runningIsOnTrial && tries === "3") {
    lines.push("This boot was not counted: it was chosen by hand, or the boot menu reads no hook.");
  }
  if (status.fellBack) {
    lines.push("The active system failed, and this one runs in its place. To try it again: cos boot retry");
  }
  for (const slot of ["active", "passive"] as const) {
    if (marksItself[slot] === undefined) continue;
    lines.push(`The ${slot} system ${marksItself[slot] ? "says" : "cannot say"} by itself that it runs well.`);
  }
  for (const { name, why } of failedChecks) lines.push(`Failed check of the active system: ${name}: ${why}`);
  for (const { source, digest, at, why } of knownBad) lines.push(`Known bad: ${source} ${digest}, ${at}: ${why}`);
  return `${lines.join("\n")}\n`;
}

export const GOOD_TEXTS: Record<GoodOutcome, string> = {
  marked: "Marked good: the running system stays.\n",
  already: "It is marked good already; nothing is counted.\n",
  "fell-back": "This is the fallback: the active system failed, and that is remembered.\n",
  "not-active": "Nothing to mark: the running system is not the active one.\n",
};

export function renderRoot({ file, uuid, partition }: MountedRoot): string {
  return `The root is ${file} on ${partition}${uuid === undefined ? "" : `, filesystem ${uuid}`}.\n`;
}

export function renderImageParts(written: readonly string[], removed: boolean, next: readonly string[]): string {
  if (written.length === 0) return removed ? "There is nothing of ours to remove.\n" : "It is all there already.\n";
  const lines = written.map((path) => `  ${path}`);
  return [`${removed ? "Removed" : "Written"}:`, ...lines, ...next.map((one) => `Next: ${one}`), ""].join("\n");
}
