/** Keeping more than the two systems that boot entries lead to (`--keep`): the one that would be given up gets a name of its own. */
import { messageOf } from "../base/errors.ts";
import type { ImageRecord } from "../formats/record.ts";
import { keptPath, linkKept, readKept } from "../state/kept.ts";
import { imagePath } from "../state/slots.ts";
import type { Slot } from "../state/switch.ts";
import { removeIfThere } from "../system/plain-files.ts";
import type { Session, View } from "./session.ts";

/** The least: what the boot entries lead to. */
export const LEAST_KEPT = 2;

/**
 * Before a switch: the image of the slot that is given up keeps a name, if it ran well and `keep` allows for it. Returns how to take
 * that back.
 */
export async function keepLost(session: Session, view: View, keeps: Slot, keep: number): Promise<() => Promise<void>> {
  const { system: { kernel }, partition: { fd } } = session, nothing = () => Promise.resolve();
  const lost: Slot = keeps === "active" ? "passive" : "active", id = view.slots.names[lost];
  const image = id === undefined ? undefined : view.slots.images.get(id);
  const known = image?.uuid === undefined ? undefined : view.record.record.images[image.uuid];
  if (keep <= LEAST_KEPT || image?.uuid === undefined || known?.boot !== "good") return nothing;
  if (id === view.slots.names[keeps] || readKept(kernel, fd).some(({ uuid }) => uuid === image.uuid)) return nothing;
  const path = keptPath(image.uuid);
  linkKept(kernel, fd, imagePath(lost), path);
  await session.checkpoint();
  return async () => {
    removeIfThere(kernel, fd, path);
    await session.checkpoint();
  };
}

/** The new system is in place whatever happens here. Returns the warnings, which are told already. */
export async function prune(session: Session, keep: number): Promise<string[]> {
  try {
    await removeOthers(session, keep);
    return [];
  } catch (thrown) {
    const text = `Older systems could not be removed: ${messageOf(thrown)}.`;
    session.events({ kind: "warning", text, late: true });
    return [text];
  }
}

/**
 * After a switch: of the kept ones as many stay as there is room for, those that were installed last. What has a slot is no kept
 * one; what is pinned stays, and takes nobody's place.
 */
async function removeOthers(session: Session, keep: number): Promise<void> {
  const { system: { kernel }, partition: { fd } } = session, { slots, record } = session.look();
  const kept = readKept(kernel, fd).filter(({ pinned }) => !pinned),
    inSlot = new Set([slots.names.active, slots.names.passive]);
  const age = ({ uuid }: { uuid: string }) => record.record.images[uuid]?.installedAt ?? "";
  const others = kept.filter(({ id }) => !inSlot.has(id)).sort((a, b) => age(b).localeCompare(age(a)));
  const gone = [...kept.filter(({ id }) => inSlot.has(id)), ...others.slice(Math.max(keep - LEAST_KEPT, 0))];
  for (const { path } of gone) kernel.unlinkat(fd, path);
  if (gone.length > 0) await session.checkpoint();
}

export interface KeptSummary {
  uuid: string;
  version?: string;
  name?: string;
  source?: string;
  digest?: string;
  installedAt?: string;
  pinned: boolean;
}

/** The newest first. */
export function describeKept({ record }: View, kept: readonly { uuid: string; pinned: boolean }[]): KeptSummary[] {
  const summary = (uuid: string, pinned: boolean, known: ImageRecord | undefined): KeptSummary => ({
    uuid,
    version: known?.version,
    name: known?.name,
    source: known?.source,
    digest: known?.digest,
    installedAt: known?.installedAt,
    pinned,
  });
  return kept.map(({ uuid, pinned }) => summary(uuid, pinned, record.record.images[uuid]))
    .sort((a, b) => (b.installedAt ?? "").localeCompare(a.installedAt ?? ""));
}

/** Those that a word means: a version, UUID or digest, or how one of the latter two begins. */
export function meantBy(word: string, known: readonly KeptSummary[]): KeptSummary[] {
  const exact = known.filter(({ version, uuid, digest }) => [version, uuid, digest].includes(word));
  const begins = ({ uuid, digest }: KeptSummary) =>
    word.length >= 4 &&
    (uuid.startsWith(word) || digest?.replace("sha256:", "").startsWith(word.replace("sha256:", "")) === true);
  return exact.length > 0 ? exact : known.filter(begins);
}
