/** Keeps `state.yaml` in step, where one exists: the second generation's tools read there what lies in the slots. */
import type { SettingsSource } from "../config/settings.ts";
import { keysOf } from "../config/settings-table.ts";
import { parseReference } from "../formats/reference.ts";
import type { ImageRecord } from "../formats/record.ts";
import type { SlotContent, StateYaml } from "../formats/state-yaml.ts";
import type { ImageFilesystem } from "../image/mount.ts";
import { fileAt, replaceFile } from "../state/plain-file.ts";
import { STATE_YAML_FILE } from "../state/slots.ts";
import type { Kernel } from "../system/kernel.ts";
import { openNamed } from "./labels.ts";
import { RECOVERY_SOURCE } from "./recovery-system.ts";
import type { Session, View } from "./session.ts";
import { recordOf } from "./trial.ts";

/** Undefined where there is none. Throws `CONFIGURATION` where something odd stands in its place. */
export function readStateYaml(kernel: Kernel, partition: number): string | undefined {
  const bytes = fileAt(kernel, partition, STATE_YAML_FILE);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** Its labels as the weakest of the settings; none where there is no such file. */
export async function stateYamlSource(text: string | undefined): Promise<SettingsSource[]> {
  if (text === undefined) return [];
  const { readYamlValues } = await import("../formats/elemental-config.ts");
  const values = readYamlValues(text, STATE_YAML_FILE, keysOf("state-yaml"));
  const statements = [...values].map(([key, value]) => ({ key, value }));
  return [{ place: "state.yaml", origin: `${STATE_YAML_FILE} on the state partition`, statements }];
}

/** After a switch. What cannot be written is a warning: nothing that boots depends on it. @param start before the switch. */
export async function keepStateYaml(session: Session, start: View): Promise<void> {
  await rewrite(session, ({ withSlots }, yaml, date) => {
    const view = session.look();
    return withSlots(
      yaml,
      { active: contentOf(view, "active", start), passive: contentOf(view, "passive", start) },
      date,
    );
  });
}

/** After an upgrade of the recovery system. */
export async function keepRecoveryInStateYaml(
  session: Session,
  { source, digest }: ImageRecord,
  filesystem: ImageFilesystem,
): Promise<void> {
  const fs = filesystem === "squashfs" ? "squashfs" : "ext2";
  await rewrite(
    session,
    ({ withRecovery }, yaml, date) => withRecovery(yaml, { source: sourceOf(source), digest }, fs, date),
  );
}

type Format = typeof import("../formats/state-yaml.ts");

async function rewrite(
  session: Session,
  change: (format: Format, yaml: StateYaml, date: string) => StateYaml,
): Promise<void> {
  const { system: { kernel, now }, partition } = session;
  await session.behindTheSwitch(`keeping ${STATE_YAML_FILE} in step`, async () => {
    const text = readStateYaml(kernel, partition.fd);
    if (text === undefined) return;
    const format = await import("../formats/state-yaml.ts");
    const date = new Date(now()).toISOString().replace(/\.[0-9]+Z$/, "Z");
    const next = format.printStateYaml(change(format, format.parseStateYaml(text, STATE_YAML_FILE), date));
    const content = new TextEncoder().encode(next);
    await replaceFile(kernel, partition.fd, STATE_YAML_FILE, content, () => session.checkpoint());
    using recovery = openNamed(session.system, partition, "recovery", true);
    if (recovery === undefined || recovery.readOnly || readStateYaml(kernel, recovery.fd) === undefined) return;
    const flush = () => Promise.resolve(kernel.syncfs(recovery.fd));
    await replaceFile(kernel, recovery.fd, STATE_YAML_FILE, content, flush);
  });
}

function contentOf(view: View, slot: "active" | "passive", start: View): SlotContent | undefined {
  const id = view.state.names[slot];
  if (id === undefined) return undefined;
  // While both names are one image, what is said of active is true of it.
  const was = (["active", "passive"] as const).find((one) => start.state.names[one] === id);
  if (was !== undefined) return { was };
  const image = recordOf(view, slot)?.image;
  if (image?.source === RECOVERY_SOURCE) return { was: "recovery" };
  return image === undefined ? undefined : { source: sourceOf(image.source), digest: image.digest };
}

/** The tools of that generation know images in registries, directories and files, each with its scheme. */
function sourceOf(source: string): string {
  const reference = parseReference(source);
  switch (reference.kind) {
    case "registry":
      return `oci://${source}`;
    case "directory":
      return `dir://${reference.path}`;
    default:
      return `file://${reference.path}`;
  }
}
