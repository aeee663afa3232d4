/** Reads the machine's settings from where they stand. They are parsed, never executed. */
import { CosError } from "../base/errors.ts";
import { parseShellAssignments } from "../formats/shell-assignments.ts";
import type { Environment } from "./environment.ts";
import { listOptional } from "./files.ts";
import type { Place, SettingsSource, Statement } from "./settings.ts";
import { keysOf, LISTS } from "./settings-table.ts";
import { readTrusted } from "./trusted-file.ts";

export const SHELL_FILES = [
  "/etc/environment",
  "/etc/os-release",
  "/etc/cos/config",
  "/etc/cos-upgrade-image",
] as const;
const ELEMENTAL = "/etc/elemental";

export interface SettingsPlaces {
  /** Where the machine's own `/` is, without a slash at its end; empty where we run on it directly. */
  root: string;
  env: Environment;
  /** `--config-dir`. */
  elemental?: string;
}

/** Throws `CONFIGURATION` for a file that cannot be read, or that others than root could have written. */
export async function readSettings({ root, env, elemental = ELEMENTAL }: SettingsPlaces): Promise<SettingsSource[]> {
  const sources = SHELL_FILES.flatMap((path) => readShellFile(root, path) ?? []);
  const parts = (await listOptional(`${root}${elemental}/config.d`)).filter((name) => name.endsWith(".yaml"));
  const files: [Place, string][] = [
    ["/etc/elemental/config.yaml", `${elemental}/config.yaml`],
    ...parts.map((name): [Place, string] => ["/etc/elemental/config.d", `${elemental}/config.d/${name}`]),
  ];
  for (const [place, path] of files) {
    const text = read(`${root}${path}`);
    if (text === undefined) continue;
    const { readYamlValues } = await import("../formats/elemental-config.ts");
    sources.push({ place, origin: path, statements: statements(readYamlValues(text, path, keysOf("yaml"), LISTS)) });
  }
  return [...sources, readEnvironment(env)];
}

/** Throws as above. */
export function readShellFile(root: string, path: typeof SHELL_FILES[number]): SettingsSource | undefined {
  const text = read(`${root}${path}`);
  if (text === undefined) return undefined;
  const assignments = parseShellAssignments(text).map(({ name, ...rest }) => ({ key: name, ...rest }));
  return { place: path, origin: path, statements: assignments };
}

export function readEnvironment(env: Environment): SettingsSource {
  const variables = [...new Set(keysOf("shell", "environment"))].flatMap((key): [string, string][] => {
    const value = env(key);
    return value === undefined ? [] : [[key, value]];
  });
  return { place: "environment", origin: "the environment", statements: statements(variables) };
}

function statements(values: Iterable<[string, string]>): Statement[] {
  return [...values].map(([key, value]) => ({ key, value }));
}

function read(path: string): string | undefined {
  const bytes = readTrusted(path, unusable);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

function unusable(path: string, why: string, cause?: unknown): CosError {
  return new CosError("CONFIGURATION", `Cannot use the settings in ${path}: ${why}.`, {
    hint: "Settings decide what root installs: the file and its directory must be root's, and writable by nobody else.",
    cause,
  });
}
