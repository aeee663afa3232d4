import { CosError, ERROR_CODES } from "../lib/base/errors.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { trustMemory } from "../lib/operations/content-trust.ts";
import { noPolicy } from "../lib/operations/policy-check.ts";
import { judge } from "../lib/operations/prove.ts";
import { resolveSource } from "../lib/operations/source.ts";
import { verifySlot } from "../lib/operations/verify-slot.ts";
import { renderJudgement } from "../lib/ui/policy.ts";
import { renderVerifiedSlot } from "../lib/ui/verify.ts";
import { type CosContext, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, statementsOf } from "./settings.ts";

export interface VerifyFlags extends ImageFlags {
  readonly slot?: "active" | "passive";
}

const json = (value: object) =>
  `${JSON.stringify({ schemaVersion: 1, operation: "verify", ...value }, undefined, 2)}\n`;

export async function runVerify(this: CosContext, flags: VerifyFlags, image?: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print }) => {
    const { slot } = flags, machine = await machineSettings(statementsOf(flags));
    if (slot !== undefined) {
      const { image: _, ...settings } = imageSettings(parseReference("oci:/"), flags, machine, system, events);
      const named = image === undefined ? {} : { image: parseReference(image) };
      const found = await verifySlot(system, { ...settings, ...named, slot }, events, signal);
      if (found.count > 0) this.exitStatus = ERROR_CODES.DIFFERENT.exit;
      print(flags.json ? json(found) : renderVerifiedSlot(found));
      return;
    }
    if (image === undefined) {
      throw new CosError("USAGE", "Nothing is named that could be verified.", {
        hint: "Give an image, or an installed system: cos verify IMAGE, cos verify --slot active",
      });
    }
    const settings = imageSettings(parseReference(image), flags, machine, system, events);
    const policy = await settings.policy();
    if (policy === undefined) throw noPolicy();
    const source = await resolveSource(system, settings, signal);
    const memory = trustMemory(system, undefined, settings.trustSeed);
    const judgement = await judge(system, source, settings, policy, memory, signal);
    if (judgement.decision.kind !== "trusted") this.exitStatus = ERROR_CODES.UNTRUSTED.exit;
    print(flags.json ? json({ image: source.name, ...judgement }) : renderJudgement(source.name, judgement));
  });
}
