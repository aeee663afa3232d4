/** Every setting of the machine that is honoured, and the keys by which the two older generations say it. No other key is. */

import { isLabel, type LabelName, USUAL_LABELS } from "../base/labels.ts";

/** Where a key may stand: a file of shell assignments or the environment, the environment alone, a YAML file, the command line. */
export type Dialect = "shell" | "environment" | "yaml" | "state-yaml" | "flag";

export interface SettingKey {
  key: string;
  dialect: Dialect;
  /** What it says is the opposite: `NO_VERIFY`. */
  negated?: true;
}

export interface SettingKind<T> {
  /** Where one source has several of them, the last in this list counts. */
  keys: readonly SettingKey[];
  preset: T;
  /** For people, in a few words. */
  about: string;
  /** Undefined for a text that is none. */
  read(text: string): T | undefined;
  /** What a value must be, completing "its value is …, and must be …". */
  wants: string;
}

const shell = (...keys: string[]) => keys.map((key): SettingKey => ({ key, dialect: "shell" }));
const environment = (...keys: string[]) => keys.map((key): SettingKey => ({ key, dialect: "environment" }));
const yaml = (...keys: string[]) => keys.map((key): SettingKey => ({ key, dialect: "yaml" }));
const flag = (...keys: string[]) => keys.map((key): SettingKey => ({ key, dialect: "flag" }));
const negated = (keys: readonly SettingKey[]) => keys.map((key): SettingKey => ({ ...key, negated: true }));

function text(preset: string, about: string, keys: readonly SettingKey[]): SettingKind<string> {
  return { keys, preset, about, read: (value) => value, wants: "a text" };
}

function choice(preset: boolean, about: string, keys: readonly SettingKey[]): SettingKind<boolean> {
  return { keys, preset, about, read: readBoolean, wants: "true or false" };
}

function label(name: LabelName, path: string): SettingKind<string> {
  const variable = `${name.toUpperCase()}_LABEL`;
  return {
    keys: [{ key: path, dialect: "state-yaml" }, { key: variable, dialect: "shell" }],
    preset: USUAL_LABELS[name],
    about: "a filesystem's label",
    read: (value) => isLabel(value) ? value : undefined,
    wants: "a label of at most 16 plain characters",
  };
}

/** The words of shells, of YAML 1.1 and of Go's strconv. */
export function readBoolean(value: string): boolean | undefined {
  if (/^(?:true|t|yes|y|on|1)$/i.test(value)) return true;
  return /^(?:false|f|no|n|off|0)$/i.test(value) ? false : undefined;
}

function readSize(value: string): number | undefined {
  const size = /^[0-9]{1,7}$/.test(value) ? Number(value) : 0;
  return size < 16 ? undefined : size;
}

/** Keys whose value may be a list. */
export const LISTS = ["cloud-init-paths"];

function readPaths(value: string): string | undefined {
  const paths = value.split(/[\s,]+/).filter((path) => path !== "");
  return paths.every((path) => /^\/[\x21-\x7e]+$/.test(path)) ? paths.join(" ") : undefined;
}

export const SETTINGS = {
  image: text("system/cos", "the system to upgrade to", [
    ...shell("UPGRADE_IMAGE"),
    ...yaml("upgrade.system.uri"),
    ...environment("ELEMENTAL_UPGRADE_SYSTEM"),
  ]),
  recoveryImage: text("", "the recovery system to upgrade to, if it is another", [
    ...shell("RECOVERY_IMAGE"),
    ...yaml("upgrade.recovery-system.uri"),
    ...environment("ELEMENTAL_UPGRADE_RECOVERY_SYSTEM"),
    ...flag("--recovery-system.uri"),
  ]),
  channel: choice(true, "whether a bare name is a package of a channel", [
    ...shell("CHANNEL_UPGRADES"),
    ...negated(flag("--docker-image", "--directory")),
  ]),
  verify: choice(true, "whether something must prove who made the image", [
    ...yaml("verify", "cosign"),
    ...shell("VERIFY"),
    ...negated(shell("NO_VERIFY")),
    ...flag("--cosign"),
    ...negated(flag("--no-cosign", "--no-verify")),
  ]),
  key: text("", "the public key that must have signed it", [
    ...shell("COSIGN_PUBLIC_KEY_LOCATION"),
    ...yaml("cosign-key"),
    ...flag("--cosign-key", "--key"),
  ]),
  size: {
    keys: [...shell("DEFAULT_IMAGE_SIZE"), ...yaml("upgrade.system.size"), ...flag("--size")],
    preset: 3240,
    about: "least size of the image's filesystem, in MiB",
    read: readSize,
    wants: "a whole number from 16",
  } satisfies SettingKind<number>,
  /** Separated by spaces. */
  cloudInitPaths: {
    keys: [...yaml(...LISTS), ...shell("CLOUD_INIT_PATHS"), ...environment("ELEMENTAL_CLOUD_INIT_PATHS")],
    preset: "",
    about: "where else the stages' cloud-config lies",
    read: readPaths,
    wants: "absolute paths, separated by spaces or commas",
  } satisfies SettingKind<string>,
  strict: choice(false, "whether a failing hook stops everything", [
    ...yaml("strict"),
    ...environment("STRICT_MODE", "ELEMENTAL_STRICT"),
    ...flag("--strict"),
  ]),
  reboot: choice(false, "whether to reboot when it is done", [
    ...yaml("reboot"),
    ...environment("ELEMENTAL_REBOOT"),
    ...flag("--reboot"),
  ]),
  poweroff: choice(false, "whether to power off when it is done", [
    ...yaml("poweroff"),
    ...environment("ELEMENTAL_POWEROFF"),
    ...flag("--poweroff"),
  ]),
  recovery: choice(false, "whether the recovery system is upgraded", [
    ...yaml("upgrade.recovery"),
    ...environment("UPGRADE_RECOVERY", "ELEMENTAL_UPGRADE_RECOVERY"),
    ...flag("--recovery"),
  ]),
  resetImage: text("", "the system that a reset makes, in place of the recovery system", [
    ...yaml("reset.system.uri"),
    ...environment("ELEMENTAL_RESET_SYSTEM"),
  ]),
  resetPersistent: choice(false, "whether cos-reset and elemental reset empty the persistent data", [
    ...yaml("reset.reset-persistent"),
    ...environment("PERSISTENCE_RESET"),
    ...flag("--reset-persistent"),
  ]),
  resetOem: choice(false, "whether cos-reset and elemental reset empty the partition of cloud-config", [
    ...yaml("reset.reset-oem"),
    ...environment("PERSISTENCE_RESET"),
    ...flag("--reset-oem"),
  ]),
  interactive: choice(true, "cos-upgrade without an image reboots by itself where this is false", [
    ...environment("INTERACTIVE"),
  ]),
  grubEntryName: text("cOS", "the boot menu's name for the system", [
    ...yaml("upgrade.grub-entry-name", "reset.grub-entry-name"),
    ...shell("GRUB_ENTRY_NAME"),
    ...environment("ELEMENTAL_RESET_GRUB_ENTRY_NAME"),
  ]),
  stateLabel: label("state", "state.label"),
  activeLabel: label("active", "state.active.label"),
  passiveLabel: label("passive", "state.passive.label"),
  recoveryLabel: label("recovery", "recovery.label"),
  systemLabel: label("system", "recovery.recovery.label"),
  oemLabel: label("oem", "oem.label"),
  persistentLabel: label("persistent", "persistent.label"),
} satisfies Record<string, SettingKind<string> | SettingKind<boolean> | SettingKind<number>>;

export type SettingName = keyof typeof SETTINGS;
export type SettingValue<N extends SettingName> = (typeof SETTINGS)[N]["preset"];

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** The keys of a dialect. */
export function keysOf(...dialects: readonly Dialect[]): string[] {
  return Object.values(SETTINGS).flatMap(({ keys }) =>
    keys.filter(({ dialect }) => dialects.includes(dialect)).map(({ key }) => key)
  );
}
