import { CosError, ERROR_CODES } from "../lib/base/errors.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { judgeImage } from "../lib/operations/judge-image.ts";
import { verifySlot } from "../lib/operations/verify-slot.ts";
import { renderJudgement } from "../lib/ui/policy.ts";
import { renderVerifiedSlot } from "../lib/ui/verify.ts";
import { type CosContext, resultJson, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, sourceSettings, statementsOf } from "./settings.ts";

export interface VerifyFlags extends ImageFlags {
  readonly slot?: "active" | "passive";
}

export async function runVerify(this: CosContext, flags: VerifyFlags, image?: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const { slot } = flags, machine = await machineSettings(statementsOf(flags));
    if (slot !== undefined) {
      const settings = sourceSettings(flags, machine, system, events);
      const named = image === undefined ? {} : { image: parseReference(image) };
      const found = await verifySlot(system, { ...settings, ...named, slot }, events, signal);
      if (found.count > 0) this.exitStatus = ERROR_CODES.DIFFERENT.exit;
      print(flags.json ? resultJson("verify", { ...found, warnings }) : renderVerifiedSlot(found));
      return;
    }
    if (image === undefined) {
      throw new CosError("USAGE", "Nothing is named that could be verified.", {
        hint: "Give an image, or an installed system: cos verify IMAGE, cos verify --slot active",
      });
    }
    const settings = imageSettings(parseReference(image), flags, machine, system, events);
    const judged = await judgeImage(system, settings, signal);
    if (judged.decision.kind !== "trusted") this.exitStatus = ERROR_CODES.UNTRUSTED.exit;
    print(flags.json ? resultJson("verify", { ...judged, warnings }) : renderJudgement(judged.image, judged));
  });
}
