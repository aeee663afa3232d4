/** Sizes as people read them. Powers of 1024, as partitioning tools show them. */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

export const MIB = 1024 * 1024;

/** `formatSize(1536)` is `1.5 KiB`: one decimal below 100, none above. */
export function formatSize(bytes: number): string {
  let value = bytes, unit = 0;
  // From 1023.5 on it would be rounded to 1024 of the smaller unit.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 100 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, "");
  return `${text} ${UNITS[unit]}`;
}
