/** The boot menu's name for the system, and the labels that it looks for. */
import type { Events } from "../base/events.ts";
import { isLabel, LABEL_NAMES, type Labels, USUAL_LABELS } from "../base/labels.ts";
import { menuReads } from "../boot/counter.ts";
import { changeOemEnv, type MenuVariables, newOemEnv, OEM_ENV_FILE } from "../boot/oem-env.ts";
import { effectiveSettings, isStronger, type Settings, type SettingsSource } from "../config/settings.ts";
import { replaceFile } from "../state/plain-file.ts";
import type { System } from "../system/system.ts";
import { ownLabel } from "./labels.ts";
import { noteOperation } from "./record-keeping.ts";
import { Session, type StateOptions } from "./session.ts";
import { readStateYaml, stateYamlSource } from "./state-yaml.ts";

export interface MenuSettings {
  /** What the machine's files say; the state partition's own is added. */
  sources: readonly SettingsSource[];
}

/** `cos-rebrand`. Returns the name, and whether anything had to be written. Throws `CONFIGURATION`. */
export async function rebrand(
  system: System,
  options: StateOptions & MenuSettings,
  events: Events,
): Promise<{ entry: string; changed: boolean }> {
  await using session = await Session.open(system, options, events);
  const settings = await settingsHere(session, options), entry = settings.grubEntryName.value;
  const changed = await setVariables(session, { entry, labels: menuVariables(session, settings) }, true);
  if (changed) {
    const at = new Date(system.now()).toISOString();
    noteOperation(session, { kind: "rebrand", at, outcome: `the boot menu calls it ${entry}` });
  }
  return { entry, changed };
}

/**
 * After a switch: a label that the menu needs and does not have is filled in, and the name is the one that the new image or the
 * machine's settings say. Where GRUB reads no such file, none is made.
 * @param named `GRUB_ENTRY_NAME` of the new image's os-release: it stands where the running one's stood.
 */
export async function keepMenu(session: Session, options: MenuSettings, named: string | undefined): Promise<void> {
  await session.behindTheSwitch(`setting the boot menu's variables in ${OEM_ENV_FILE}`, async () => {
    const settings = await settingsHere(session, options), { value, place } = settings.grubEntryName;
    const entry = isStronger(place, "/etc/os-release") ? value : named ?? (place === "default" ? undefined : value);
    const reads = menuReads(session.system.kernel, session.partition.fd, OEM_ENV_FILE);
    await setVariables(session, { entry, labels: menuVariables(session, settings) }, reads);
  });
}

async function settingsHere({ system: { kernel }, partition: { fd } }: Session, { sources }: MenuSettings) {
  return effectiveSettings([...sources, ...await stateYamlSource(readStateYaml(kernel, fd))]);
}

/** @param make a file where there is none. */
async function setVariables(session: Session, wanted: MenuVariables, make: boolean): Promise<boolean> {
  const { system: { kernel }, partition: { fd } } = session;
  const outcome = changeOemEnv(kernel, fd, wanted);
  if (outcome === "absent" && make) {
    await replaceFile(kernel, fd, OEM_ENV_FILE, newOemEnv(wanted), () => session.checkpoint());
    return true;
  }
  if (outcome === "written") await session.checkpoint();
  return outcome === "written";
}

/**
 * What GRUB is to look for is what is there: the labels that the images are given here, and the one that the state partition has.
 * Of the rest `state.yaml` knows where nobody else says it.
 */
function menuVariables(session: Session, settings: Settings): Record<string, string> {
  const { labels } = session.look(), state = ownLabel(session.system, session.partition);
  const elsewhere = (["recovery", "system", "oem", "persistent"] as const).flatMap((name) =>
    labels[name] === USUAL_LABELS[name] ? [[name, settings[`${name}Label`].value]] : []
  );
  const all: Labels = {
    ...labels,
    ...Object.fromEntries(elsewhere),
    ...state !== undefined && isLabel(state) && { state },
  };
  return Object.fromEntries(LABEL_NAMES.map((name) => [`${name}_label`, all[name]]));
}
