/** Settings of an operation: from a command's flags, and from what the machine's files and the environment say. */
import { buildInfo } from "../lib/base/build-info.ts";
import { CosError } from "../lib/base/errors.ts";
import { MIB } from "../lib/base/size.ts";
import type { Events } from "../lib/base/events.ts";
import { certificateLookup } from "../lib/config/certificates.ts";
import { environment, helperEnvironment } from "../lib/config/environment.ts";
import { credentialLookup } from "../lib/config/credentials.ts";
import { mirrorLookup } from "../lib/config/mirrors.ts";
import { operatorName } from "../lib/config/operator.ts";
import {
  effectiveSettings,
  isStronger,
  type Settings,
  type SettingsSource,
  type Statement,
} from "../lib/config/settings.ts";
import { readSettings } from "../lib/config/settings-files.ts";
import type { ImageReference } from "../lib/formats/reference.ts";
import { installedRoot } from "../lib/operations/installed-root.ts";
import type { Waiver } from "../lib/operations/record-keeping.ts";
import type { Restart } from "../lib/operations/restart.ts";
import type { ImageSettings } from "../lib/operations/upgrade.ts";
import { helperRunner } from "../lib/system/credential-helper.ts";
import type { System } from "../lib/system/system.ts";
import type { ImageFlags } from "./flags.ts";

export interface RestartFlags {
  readonly reboot?: boolean;
  readonly poweroff?: boolean;
}

export interface MachineSettings extends Settings {
  /** All of which it was made. */
  sources: readonly SettingsSource[];
}

/**
 * What is in effect on this machine for this command line. Throws `CONFIGURATION`.
 * @param elemental where the second generation's files lie, if not in /etc/elemental.
 */
export async function machineSettings(statements: readonly Statement[], elemental?: string): Promise<MachineSettings> {
  const files = await readSettings({ root: "", env: environment, elemental });
  const sources: SettingsSource[] = [...files, { place: "flags", origin: "the command line", statements }];
  return { ...effectiveSettings(sources), sources };
}

/** The flags that are settings, too. */
export function statementsOf(
  { noVerify, key, size, strict, reboot, poweroff }: ImageFlags & RestartFlags,
): Statement[] {
  const said = { "--no-verify": noVerify, "--key": key, "--size": size, "--strict": strict };
  return Object.entries({ ...said, "--reboot": reboot, "--poweroff": poweroff })
    .flatMap(([key, value]) => value === undefined || value === false ? [] : [{ key, value: String(value) }]);
}

/** The flags that say how the image is to be had; the others are settings. */
interface SourceFlags extends Pick<ImageFlags, "state" | "plainHttp" | "authFile" | "replaceLinks"> {
  /** Files or directories with logins that are asked before all others but `authFile`. */
  secrets?: readonly string[];
}

/** What an operation on an image needs to know besides the image. */
export function sourceSettings(
  flags: SourceFlags,
  settings: MachineSettings,
  system: System,
  events: Events,
): Omit<ImageSettings, "image"> {
  const warn = (text: string) => events({ kind: "warning", text });
  const elsewhere = installedRoot(system, { state: flags.state }, warn), hostTls = certificateLookup(elsewhere);
  return {
    state: flags.state,
    size: settings.size.value * MIB,
    replaceDirectoryLinks: flags.replaceLinks === true,
    plainHttp: flags.plainHttp === true,
    userAgent: `cos/${buildInfo().version}`,
    credentials: credentialLookup(environment, {
      file: flags.authFile,
      first: flags.secrets,
      runHelper: helperRunner(helperEnvironment),
      elsewhere,
      warn,
    }),
    hostTls,
    mirrors: mirrorLookup({
      root: "",
      env: environment,
      plainHttp: flags.plainHttp === true,
      hostTls,
      fetch: system.fetch,
      elsewhere,
      warn,
    }),
    events,
    strict: settings.strict.value,
    cloudInitPaths: settings.cloudInitPaths.value.split(" ").filter((path) => path !== ""),
    sources: settings.sources,
    builtAt: buildInfo().builtAt,
    trustSeed: async (id, gun) => (await import("../lib/config/trust-seed.ts")).trustSeed("", id, gun),
    policy: async () => {
      const { findPolicy } = await import("../lib/config/policy.ts");
      return await findPolicy({ root: "", ...namedKey(settings) });
    },
    ...waivers(settings, system),
  };
}

export function imageSettings(image: ImageReference, ...others: Parameters<typeof sourceSettings>): ImageSettings {
  return { image, ...sourceSettings(...others) };
}

/** A key that was named for this run, by a flag or a variable, or in a file for all runs. */
function namedKey({ key: { value, place, words, origin } }: Settings) {
  if (value === "") return {};
  if (place === "flags" || place === "environment") return { key: { path: value, words } };
  return { settingsKey: { path: value, words: `${words} in ${origin}` } };
}

function waivers({ verify: { value, place, words, origin } }: Settings, system: System) {
  if (value) return {};
  if (place === "flags") return { waiver: saidBy(system, words) };
  const word = `${words} in ${origin}`;
  return { waiverWithoutPolicy: place === "environment" ? saidBy(system, word) : { word, by: "the settings" } };
}

/** A word of the operator's, and who said it, for the record. */
export function saidBy({ kernel }: System, word: string): Waiver {
  return { word, by: operatorName(environment, kernel.getuid()) };
}

/** What is to come when the work is done. Throws `USAGE` where one place asks for both. */
export function wantedRestart({ reboot, poweroff }: Settings): Restart | undefined {
  if (!reboot.value || !poweroff.value) return reboot.value ? "reboot" : poweroff.value ? "poweroff" : undefined;
  if (reboot.place !== poweroff.place) return isStronger(reboot.place, poweroff.place) ? "reboot" : "poweroff";
  throw new CosError("USAGE", `Cannot both reboot and power off (${reboot.words} and ${poweroff.words}).`, {
    hint: "Say one of them.",
  });
}
