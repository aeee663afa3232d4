/** The settings in effect, as text. Pure. */

export interface SettingRow {
  name: string;
  value: string | boolean | number;
  origin: string;
  /** Empty for a default. */
  key: string;
}

export function renderSettings(rows: readonly SettingRow[]): string {
  const width = (pick: (row: SettingRow) => string) => Math.max(...rows.map((row) => pick(row).length));
  const names = width(({ name }) => name), values = Math.min(40, width(({ value }) => shown(value)));
  return rows.map(({ name, value, origin, key }) => {
    const where = key === "" ? origin : `${key} in ${origin}`;
    return `${name.padEnd(names)}  ${shown(value).padEnd(values)}  ${where}\n`;
  }).join("");
}

function shown(value: SettingRow["value"]): string {
  return value === "" ? "-" : String(value);
}
