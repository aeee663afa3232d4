/** The first images on an empty state partition: both slots are one image, until the first upgrade. */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { hasImageDirectory, IMAGE_DIRECTORY } from "../state/slots.ts";
import { removeRecord } from "../state/record-file.ts";
import { planSwitch } from "../state/switch.ts";
import type { System } from "../system/system.ts";
import { formatReference } from "../formats/reference.ts";
import { keepMenu } from "./boot-menu.ts";
import { originOf } from "./downgrade.ts";
import { Hooks } from "./hooks.ts";
import { checkSpace, removeTransition } from "./install-image.ts";
import { installWithHooks } from "./install-with-hooks.ts";
import { newImageRecord, noteImages, noteOperation } from "./record-keeping.ts";
import { Session, type View } from "./session.ts";
import { proveAndRemember } from "./prove.ts";
import { resolvedImage, resolveSource } from "./source.ts";
import { describeSlots, type SlotSummary } from "./summary.ts";
import { switchSlots } from "./switch-slots.ts";
import type { ImageSettings } from "./upgrade.ts";

export async function deploy(
  system: System,
  settings: ImageSettings,
  events: Events,
  signal: AbortSignal,
): Promise<SlotSummary[]> {
  await using session = await Session.open(system, settings, events, true);
  const { kernel } = system, { fd, name } = session.partition;
  const before = session.look();
  refuseDeployed(before);
  const source = await resolveSource(system, settings, signal);
  const verification = await proveAndRemember(session, source, settings, signal);
  checkSpace(source, kernel.fstatfs(fd).available, name);
  if (!hasImageDirectory(kernel, fd)) kernel.mkdirat(fd, IMAGE_DIRECTORY, 0o755);
  const hooks = new Hooks(session, settings, "install", formatReference(settings.image), signal);
  const installed = await installWithHooks(session, source, settings, hooks, signal);
  try {
    const ready = session.look(), plan = planSwitch(ready.state, { kind: "deploy" });
    if (plan === undefined) throw new Error("an empty partition has a plan");
    signal.throwIfAborted();
    noteImages(session, {
      [installed.uuid]: {
        ...newImageRecord(formatReference(settings.image), installed, verification, system.now()),
        ...originOf(resolvedImage(source), settings.image),
      },
    });
    events({ kind: "phase", phase: "switch", text: "Putting it in place" });
    const warnings = await switchSlots(session, ready, plan);
    await keepMenu(session, settings, installed.os.menuEntry);
    await hooks.afterSwitch();
    const at = new Date(system.now()).toISOString();
    const operation = {
      kind: "deploy",
      at,
      outcome: "done",
      image: source.name,
      warnings: warnings.length > 0 ? warnings : undefined,
      ...hooks.notes,
    };
    noteOperation(session, operation);
  } catch (thrown) {
    removeTransition(session);
    if (before.record.condition === "absent") removeRecord(kernel, fd);
    throw thrown;
  }
  return session.afterwards("looking at the result", [], () => describeSlots(session.look()));
}

function refuseDeployed({ slots, partition }: View): void {
  if (slots.names.active === undefined && slots.names.passive === undefined) return;
  throw new CosError("ALREADY_DEPLOYED", `Cannot deploy to ${partition.name}: it already holds a system.`, {
    hint: "To replace it, use: cos upgrade IMAGE",
  });
}
