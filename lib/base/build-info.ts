/** What this program is: its version, and what it was built from. */

import configuration from "../../deno.json" with { type: "json" };

export interface BuildInfo {
  /** As in deno.json. */
  version: string;
  /** What it was built from, with `-dirty` where the checkout differed; `development` when run from a checkout. */
  commit: string;
  /** The version of Deno that runs it. */
  denoVersion: string;
  /**
   * The commit's date in milliseconds since 1970; 0 when run from a checkout. Not the day of the build: the same
   * sources give the same file.
   */
  builtAt: number;
}

/** `scripts/build` sets `globalThis.COS_BUILD` in the first line of the bundle. */
interface Built {
  COS_BUILD?: Pick<BuildInfo, "commit" | "builtAt">;
}

/** What `scripts/build` wrote down; in a checkout, values that say so. */
export function buildInfo(): BuildInfo {
  const { commit, builtAt } = (globalThis as Built).COS_BUILD ?? { commit: "development", builtAt: 0 };
  return { version: configuration.version, commit, denoVersion: Deno.version.deno, builtAt };
}
