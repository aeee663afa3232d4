/** What the policy in force says of an image that is not taken: `cos policy test`, `cos verify IMAGE`. */
import { trustMemory } from "./content-trust.ts";
import { noPolicy } from "./policy-check.ts";
import { judge, type Judgement } from "./prove.ts";
import { resolveSource } from "./source.ts";
import type { System } from "../system/system.ts";
import type { ImageSettings } from "./upgrade.ts";

export interface JudgedImage extends Judgement {
  /** As people know it. */
  image: string;
}

/** Throws `CONFIGURATION` where no policy is in force, and what fetching throws. Nothing is remembered of content trust. */
export async function judgeImage(system: System, settings: ImageSettings, signal: AbortSignal): Promise<JudgedImage> {
  const policy = await settings.policy();
  if (policy === undefined) throw noPolicy();
  const source = await resolveSource(system, settings, signal);
  const memory = trustMemory(system, undefined, settings.trustSeed);
  return { image: source.name, ...await judge(system, source, settings, policy, memory, signal) };
}
