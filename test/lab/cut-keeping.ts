/** What must be so of systems that have a name besides those of the slots, whenever the power goes. Pure. */
import type { KnownImage } from "./cut-boots.ts";
import type { LinuxFiles } from "./disk-views.ts";
import type { Cut } from "./power-cuts.ts";

/** What one operation promises; systems are called as the images are. */
export interface Keeping {
  /** They have a name at every cut, whatever it is. */
  stays: readonly string[];
  /** They were pinned before, and no cut takes that name away. */
  pinned: readonly string[];
  /** All such names once the operation has ended: `kept v1`, `pinned v2`. */
  after: readonly string[];
}

export const NOTHING_KEPT: Keeping = { stays: [], pinned: [], after: [] };

/** The names of such systems in `cOS`. */
export const KEPT_FILE = /^kept\/(kept|pinned)-(.+)\.img$/;

/** @param files what Linux finds, or what a repair has made of that. */
export function keptProblems(
  files: LinuxFiles,
  images: readonly KnownImage[],
  { stays, pinned, after }: Keeping,
  { ended, last }: Pick<Cut, "ended" | "last">,
): string[] {
  const problems: string[] = [], found = new Set<string>(), here = new Set<string>();
  for (const [file, { digest, uuid }] of files) {
    const system = images.find((image) => image.digest === digest)?.name, [, kind, of] = KEPT_FILE.exec(file) ?? [];
    if (system !== undefined) here.add(system);
    if (kind === undefined) continue;
    if (system === undefined) problems.push(`a ${kind} system is damaged`);
    else if (of !== uuid) problems.push(`${system} is ${kind} by the UUID of another`);
    else found.add(`${kind} ${system}`);
  }
  // A pin that was said to be done holds, even where the last of what was written is lost.
  const promised = ended ? after.filter((name) => name.startsWith("pinned ")) : [];
  const wanted = last ? after : [...promised, ...pinned.map((system) => `pinned ${system}`)];
  problems.push(...stays.filter((system) => !here.has(system)).map((system) => `${system} is gone`));
  problems.push(...wanted.filter((name) => !found.has(name)).map((name) => `nothing is called ${name}`));
  if (last) {
    const more = [...found].filter((name) => !after.includes(name));
    problems.push(...more.map((name) => `there is ${name}, though the operation has ended`));
  }
  return problems;
}
