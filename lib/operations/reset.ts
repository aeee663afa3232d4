/**
 * `cos reset`: the machine as it was at first, from a recovery system or a live CD. The new system is complete before the old one
 * loses a name: at every instant something boots. Then both slots are the new one, and what was asked for is emptied.
 */
import { CosError, messageOf } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { formatReference, type ImageReference } from "../formats/reference.ts";
import type { Verification } from "../formats/record.ts";
import { openSibling, type StatePartition } from "../machine/state-partition.ts";
import { hasImageDirectory, IMAGE_DIRECTORY } from "../state/slots.ts";
import { planSwitch } from "../state/switch.ts";
import type { System } from "../system/system.ts";
import { emptyDirectory } from "../system/empty-directory.ts";
import { makeWritable } from "../state/writable.ts";
import { keepMenu } from "./boot-menu.ts";
import { originOf } from "./downgrade.ts";
import { Hooks } from "./hooks.ts";
import { checkSpace, removeTransition, type Source } from "./install-image.ts";
import { installWithHooks } from "./install-with-hooks.ts";
import { partitionLabels } from "./labels.ts";
import { proveAndRemember } from "./prove.ts";
import { newImageRecord, noteImages, noteOperation } from "./record-keeping.ts";
import { findRecovery, mountRecovery, openRecovery, RECOVERY_SOURCE } from "./recovery-system.ts";
import { Session, type View } from "./session.ts";
import { resolvedImage, resolveSource } from "./source.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";
import type { ImageSettings } from "./upgrade.ts";

export interface ResetSettings extends Omit<ImageSettings, "image"> {
  /** In place of the recovery system. */
  image?: ImageReference;
  /** Empty the partitions of persistent data, and of cloud-config. */
  persistent: boolean;
  oem: boolean;
  /** Who says so, for the record: the recovery system is at rest on the disk, and nothing proves it anew. */
  by: string;
}

export async function reset(
  system: System,
  settings: ResetSettings,
  events: Events,
  signal: AbortSignal,
): Promise<SlotSummary[]> {
  // A partition without a single image can be reset as well.
  await using session = await Session.open(system, settings, events, true);
  const { kernel } = system, { fd, name } = session.partition;
  refuseRunning(session.look());
  using stack = new DisposableStack();
  const { source, verification, origin } = await sourceOf(session, settings, stack, signal);
  checkSpace(source, kernel.fstatfs(fd).available, name);
  if (!hasImageDirectory(kernel, fd)) kernel.mkdirat(fd, IMAGE_DIRECTORY, 0o755);
  const hooks = new Hooks(session, settings, "reset", source.name, signal);
  const installed = await installWithHooks(session, source, settings, hooks, signal);
  const warnings: string[] = [];
  try {
    const ready = session.look(),
      empty = ready.slots.names.active === undefined && ready.slots.names.passive === undefined;
    const plan = planSwitch(ready.state, empty ? { kind: "deploy" } : { kind: "upgrade", arm: false });
    if (plan === undefined) throw new Error("what no system runs from has a plan");
    signal.throwIfAborted();
    const record = newImageRecord(source.name, installed, verification, system.now());
    noteImages(session, { [installed.uuid]: { ...record, ...origin } });
    events({ kind: "phase", phase: "switch", text: "Putting it in place" });
    warnings.push(...await switchSlots(session, ready, plan));
  } catch (thrown) {
    removeTransition(session);
    throw thrown;
  }
  warnings.push(...await settle(session), ...emptied(session, settings));
  await keepMenu(session, settings, installed.os.menuEntry);
  await hooks.afterSwitch();
  noteOperation(session, {
    kind: "reset",
    at: new Date(system.now()).toISOString(),
    outcome: "done",
    image: source.name,
    ...warnings.length > 0 && { warnings },
    ...hooks.notes,
  });
  return session.afterwards("looking at the result", [], () => describeSlots(session.look()));
}

function refuseRunning({ state, partition }: View): void {
  if (state.running === undefined) return;
  throw new CosError("NOT_IN_RECOVERY", `Cannot reset ${partition.name}: the machine runs from it.`, {
    hint: "Start the recovery system or a live CD, and run it there.",
  });
}

async function sourceOf(
  session: Session,
  settings: ResetSettings,
  stack: DisposableStack,
  signal: AbortSignal,
): Promise<{ source: Source; verification: Verification; origin: ReturnType<typeof originOf> | undefined }> {
  const { system, partition } = session, { image } = settings;
  if (image !== undefined) {
    const source = await resolveSource(system, { ...settings, image }, signal);
    const verification = await proveAndRemember(session, source, { ...settings, image }, signal);
    return {
      source: { ...source, name: formatReference(image) },
      verification,
      origin: originOf(resolvedImage(source), image),
    };
  }
  const recovery = stack.use(openSource(system, partition)), found = findRecovery(system.kernel, recovery.fd);
  if (found === undefined) {
    throw new CosError("IMAGE_NOT_FOUND", `Cannot reset from ${recovery.name}: it holds no recovery system.`, {
      hint: "Name the image to reset to: cos reset IMAGE",
    });
  }
  const { fd } = stack.use(mountRecovery(system, recovery.fd, found));
  const at = new Date(system.now()).toISOString();
  return {
    source: { kind: "directory", reference: { kind: "directory", path: `/proc/self/fd/${fd}` }, name: RECOVERY_SOURCE },
    verification: { scheme: "skipped", word: RECOVERY_SOURCE, by: settings.by, at },
    origin: undefined,
  };
}

/** What is mounted read-only cannot be mounted for writing too, and the record's copy and `state.yaml` are written beside it. */
function openSource(system: System, state: StatePartition): StatePartition {
  try {
    return openRecovery(system, state, true);
  } catch (thrown) {
    if (!(thrown instanceof CosError) || thrown.code !== "SYSTEM_CALL") throw thrown;
    return openRecovery(system, state, false);
  }
}

/** The new system is in place whatever happens here. Returns the warnings, which are told already. */
async function settle(session: Session): Promise<string[]> {
  try {
    const now = session.look(), plan = planSwitch(now.state, { kind: "settle" });
    return plan === undefined ? [] : await switchSlots(session, now, plan);
  } catch (thrown) {
    return [told(session, `The old system is still the fallback: ${messageOf(thrown)}.`)];
  }
}

function told({ events }: Session, text: string): string {
  events({ kind: "warning", text, late: true });
  return text;
}

/** Returns the warnings, which are told already. */
function emptied(session: Session, { persistent, oem }: ResetSettings): string[] {
  const { system: { kernel }, partition, events } = session, warnings: string[] = [];
  const labels = partitionLabels(session.system, partition);
  // Settings may give two of them one name, and what is emptied by mistake is a machine that does not come back.
  const spared = [
    ...[labels.state, labels.recovery],
    ...oem ? [] : [labels.oem],
    ...persistent ? [] : [labels.persistent],
  ];
  for (const [wanted, name] of [[oem, "oem"], [persistent, "persistent"]] as const) {
    if (!wanted) continue;
    const label = labels[name];
    try {
      using sibling = openSibling(kernel, partition, label, true);
      if (sibling === undefined) {
        warnings.push(told(session, `There is no ${label} beside the state partition: nothing was emptied there.`));
        continue;
      }
      if (spared.includes(label) || sibling.blockDevice === partition.blockDevice) {
        warnings.push(told(session, `${label} is not emptied: what is to stay lies there.`));
        continue;
      }
      using _writable = makeWritable(kernel, sibling, (text) => events({ kind: "warning", text }));
      emptyDirectory(kernel, sibling.fd);
      kernel.syncfs(sibling.fd);
    } catch (thrown) {
      warnings.push(told(session, `${label} could not be emptied: ${messageOf(thrown)}.`));
    }
  }
  return warnings;
}
