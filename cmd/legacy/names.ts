/** The names of older tools that this file is called by. Read at every start: nothing is loaded for it. */

export const LEGACY_NAMES = [
  "cos-upgrade",
  "cos-rollback",
  "cos-reset",
  "cos-deploy",
  "cos-rebrand",
  "suc-upgrade",
  "elemental",
] as const;
/**
 * What `cos install-links` makes by itself. Not `elemental`: where that is installed it also runs the stages of cloud-config, which
 * this file does not.
 */
export const LINKED_NAMES = LEGACY_NAMES.filter((name) => name !== "elemental");
export type LegacyName = typeof LEGACY_NAMES[number];

/** @param called the name as it was given, with or without a path. */
export function legacyName(called: string | undefined): LegacyName | undefined {
  const base = called?.slice(called.lastIndexOf("/") + 1);
  return LEGACY_NAMES.find((name) => name === base);
}
