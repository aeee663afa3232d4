/** The settings that are in effect, each with where it came from. One pure function decides what beats what. */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import {
  type Dialect,
  SETTING_NAMES,
  type SettingKind,
  type SettingName,
  SETTINGS,
  type SettingValue,
} from "./settings-table.ts";

/**
 * From the weakest to the strongest. It is the order of both generations: the first knew the four files in the middle, the
 * second `state.yaml`, os-release and its own two.
 */
export const PLACES = [
  "state.yaml",
  "/etc/environment",
  "/etc/os-release",
  "/etc/cos/config",
  "/etc/cos-upgrade-image",
  "/etc/elemental/config.yaml",
  "/etc/elemental/config.d",
  "environment",
  "flags",
] as const;
export type Place = typeof PLACES[number];

const DIALECTS: Record<Place, readonly Dialect[]> = {
  "state.yaml": ["state-yaml"],
  "/etc/environment": ["shell"],
  "/etc/os-release": ["shell"],
  "/etc/cos/config": ["shell"],
  "/etc/cos-upgrade-image": ["shell"],
  "/etc/elemental/config.yaml": ["yaml"],
  "/etc/elemental/config.d": ["yaml"],
  "environment": ["shell", "environment"],
  "flags": ["flag"],
};

export interface Statement {
  key: string;
  value: string;
  /** Of its file, from 1. */
  line?: number;
  /** Why the value cannot be relied on, completing "its value …". */
  fault?: string;
}

export interface SettingsSource {
  place: Place;
  /** As people know it: a path, "the environment", "the command line". Of one place the last by this name counts. */
  origin: string;
  statements: readonly Statement[];
}

export interface Setting<T> {
  value: T;
  place: Place | "default";
  /** "the default" where nobody says it. */
  origin: string;
  /** As it stands there: `VERIFY=false`, `--no-verify`, `upgrade.system.uri: docker:…`. */
  words: string;
  key: string;
}

export type Settings = { readonly [N in SettingName]: Setting<SettingValue<N>> };

/** Throws `CONFIGURATION` for a value that is none; one that a stronger source overrides is not looked at. */
export function effectiveSettings(sources: readonly SettingsSource[]): Settings {
  const ordered = weakFirst(sources);
  return Object.fromEntries(
    SETTING_NAMES.map((name) => [name, settle(SETTINGS[name] as SettingKind<unknown>, ordered)]),
  ) as unknown as Settings;
}

/** One of them, whatever is at fault with others. Throws `CONFIGURATION`. */
export function effectiveSetting<N extends SettingName>(
  sources: readonly SettingsSource[],
  name: N,
): Setting<SettingValue<N>> {
  return settle(SETTINGS[name] as SettingKind<SettingValue<N>>, weakFirst(sources));
}

function weakFirst(sources: readonly SettingsSource[]): SettingsSource[] {
  return [...sources].sort((a, b) =>
    PLACES.indexOf(a.place) - PLACES.indexOf(b.place) || (a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0)
  );
}

function settle<T>(kind: SettingKind<T>, weakFirst: readonly SettingsSource[]): Setting<T> {
  for (const source of weakFirst.toReversed()) {
    for (
      const { key, negated } of kind.keys.filter(({ dialect }) => DIALECTS[source.place].includes(dialect)).reverse()
    ) {
      const said = source.statements.findLast((one) => one.key === key);
      // A variable that is set to nothing says nothing.
      if (said === undefined || said.value === "" && said.fault === undefined) continue;
      const { place, origin } = source, value = valueOf(kind, said, origin);
      const words = wordsOf(said, place);
      return { value: negated ? !value as T : value, place, origin, words, key };
    }
  }
  return { value: kind.preset, place: "default", origin: "the default", words: "", key: "" };
}

function wordsOf({ key, value }: Statement, place: Place): string {
  const shown = displayText(value, 300);
  if (place === "flags") return value === "true" ? key : `${key} ${shown}`;
  return DIALECTS[place].includes("shell") ? `${key}=${shown}` : `${key}: ${shown}`;
}

function valueOf<T>({ read, wants }: SettingKind<T>, { key, value, line, fault }: Statement, origin: string): T {
  const place = line === undefined ? origin : `${origin}, line ${line}`;
  if (fault !== undefined) throw unusable(place, `the value of ${key} ${fault}`);
  const found = read(value);
  if (found === undefined) {
    throw unusable(place, `the value of ${key} is ${JSON.stringify(displayText(value, 100))}, and must be ${wants}`);
  }
  return found;
}

function unusable(place: string, why: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${place}: ${why}.`, {
    hint: "Mend it there; what is in effect, and where it comes from, shows: cos config",
  });
}

export function isStronger(a: Setting<unknown>["place"], b: Setting<unknown>["place"]): boolean {
  const rank = (place: Setting<unknown>["place"]) => place === "default" ? -1 : PLACES.indexOf(place);
  return rank(a) > rank(b);
}
