/** Asking the servers of Docker Content Trust that a policy names, with what this machine has seen of them before. */
import { digestHex } from "../base/digest.ts";
import { CosError, messageOf } from "../base/errors.ts";
import type { KnownTrust, Remembered } from "../formats/known-trust.ts";
import type { ImageReference } from "../formats/reference.ts";
import { trustFiles } from "../oci/content-trust.ts";
import { digestOf } from "../oci/verified.ts";
import { loadTrust, storeTrust, trustFile } from "../state/trust-file.ts";
import type { System } from "../system/system.ts";
import type { ContentTrustSource, FoundTrust, Requirement } from "../trust/mod.ts";
import type { Session } from "./session.ts";
import type { SourceSettings } from "./source.ts";

/** What is known of repositories, for one run. Nothing is written before `keepTrust`, so looking changes nothing. */
export interface TrustMemory {
  /** @param id SHA-256 of the repository's name, in hex. */
  load(id: string, gun: string): Promise<Remembered>;
  /** By id: what this run has proven. */
  readonly proven: Map<string, KnownTrust>;
}

/** What an image brings for first contact (`lib/config/trust-seed.ts`). */
export type TrustSeed = (id: string, gun: string) => Promise<Remembered>;

/** @param partition the state partition, where there is one: what it holds counts before what the image brings. */
export function trustMemory({ kernel }: System, partition: { fd: number } | undefined, seed: TrustSeed): TrustMemory {
  return {
    load: async (id, gun) => {
      const here = partition && loadTrust(kernel, partition.fd, id, gun);
      return here ?? await seed(id, gun);
    },
    proven: new Map(),
  };
}

interface Writing extends Pick<Session, "system" | "events"> {
  partition: { fd: number };
}

/** Writes what this run has proven. That it cannot be written is a warning: the image was proven all the same. */
export function keepTrust({ system: { kernel }, partition, events }: Writing, { proven }: TrustMemory): void {
  for (const [id, known] of proven) {
    try {
      storeTrust(kernel, partition.fd, id, known);
    } catch (thrown) {
      const text = `Could not write ${trustFile(id)}: ${messageOf(thrown)}. An older state of ${known.gun}'s ` +
        "content trust will not be noticed.";
      events({ kind: "warning", text });
    }
  }
}

/** What each of the requirements' servers has; nothing for what they cannot have: images without a tag, or from no registry. */
export async function askContentTrust(
  system: System,
  requirements: readonly Requirement[],
  reference: ImageReference,
  settings: SourceSettings,
  memory: TrustMemory,
  signal: AbortSignal,
): Promise<Map<ContentTrustSource, FoundTrust>> {
  const answers = new Map<ContentTrustSource, FoundTrust>();
  const sources = requirements.flatMap(({ contentTrust = [] }) => contentTrust);
  if (sources.length === 0 || reference.kind !== "registry" || reference.tag === undefined) return answers;
  const gun = `${reference.host}/${reference.repository}`, now = new Date(system.now());
  const id = digestHex(await digestOf(new TextEncoder().encode(gun)));
  const { known, damaged } = await memory.load(id, gun);
  for (const source of sources) {
    if (damaged !== undefined) {
      answers.set(source, { trusted: false, reason: damagedReason(damaged, gun) });
      continue;
    }
    if (known !== undefined && now < new Date(known.at)) throw wrongClock(now, known);
    const fetch = await trustFiles(reference, gun, system, { ...settings, server: source.server }, signal);
    const found = await source.read(gun, known, now, fetch);
    if ("known" in found) memory.proven.set(id, found.known);
    answers.set(source, found);
  }
  return answers;
}

function damagedReason(file: string, gun: string): string {
  return `${file} is damaged, or of a newer cos, so that an older state of ${gun}'s content trust could not be told from ` +
    "the newest: put it back, or remove it to begin with the keys that the policy pins";
}

function wrongClock(now: Date, { at, gun }: KnownTrust): CosError {
  return new CosError(
    "CLOCK",
    `Cannot verify anything: the clock says ${now.toISOString()}, and the content trust of ${gun} was verified at ${at}.`,
    { hint: "Set the clock; what has expired would count as good otherwise." },
  );
}
