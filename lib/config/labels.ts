/**
 * The labels that the machine's settings say, for commands that need no other setting: those that mend a machine must not stop at
 * a file that is at fault.
 */
import { messageOf } from "../base/errors.ts";
import { LABEL_NAMES, type Labels } from "../base/labels.ts";
import type { Environment } from "./environment.ts";
import { effectiveSetting, type SettingsSource } from "./settings.ts";
import { readEnvironment, readShellFile, SHELL_FILES } from "./settings-files.ts";

/** Those that they say; what cannot be used is told to `warn`, and says nothing. @param root without a slash at its end. */
export function machineLabels(root: string, env: Environment, warn: (text: string) => void): Partial<Labels> {
  const orWarn = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (thrown) {
      warn(`${messageOf(thrown)}.`);
      return undefined;
    }
  };
  const files = SHELL_FILES.flatMap((path) => orWarn(() => readShellFile(root, path)) ?? []);
  const sources: SettingsSource[] = [...files, readEnvironment(env)];
  return Object.fromEntries(LABEL_NAMES.flatMap((name) => {
    const setting = orWarn(() => effectiveSetting(sources, `${name}Label`));
    return setting === undefined || setting.place === "default" ? [] : [[name, setting.value]];
  }));
}
