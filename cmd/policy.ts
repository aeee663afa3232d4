import { CosError, ERROR_CODES } from "../lib/base/errors.ts";
import { CONTAINERS_POLICY, findPolicy, readPolicy } from "../lib/config/policy.ts";
import { parseReference } from "../lib/formats/reference.ts";
import { checkPolicy, noPolicy } from "../lib/operations/policy-check.ts";
import { judgeImage } from "../lib/operations/judge-image.ts";
import { renderJudgement, renderPolicy } from "../lib/ui/policy.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";
import type { ImageFlags } from "./flags.ts";
import { imageSettings, machineSettings, statementsOf } from "./settings.ts";

export async function runCheck(this: CosContext, flags: Omit<CommonFlags, "state">, file?: string): Promise<void> {
  await runJob(this, flags, async ({ print }) => {
    const policy = file === undefined
      ? await findPolicy({ root: "" })
      : await readPolicy(file, "", file !== CONTAINERS_POLICY);
    if (policy === undefined) throw file === undefined ? noPolicy() : missing(file);
    const words = await checkPolicy(policy);
    print(flags.json ? resultJson("policy check", words) : renderPolicy(words));
  });
}

function missing(file: string): CosError {
  return new CosError("CONFIGURATION", `Cannot read the policy ${file}: it does not exist.`, {
    hint: "Check the path.",
  });
}

export type TestFlags = Omit<ImageFlags, "state" | "noVerify" | "size" | "replaceLinks" | "strict" | "verbose">;

/** Ends with the status that an upgrade would end with. */
export async function runTest(this: CosContext, flags: TestFlags, image: string): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, print, warnings }) => {
    const machine = await machineSettings(statementsOf(flags));
    const settings = imageSettings(parseReference(image), flags, machine, system, events);
    const judged = await judgeImage(system, settings, signal);
    if (judged.decision.kind === "refused") this.exitStatus = ERROR_CODES.UNTRUSTED.exit;
    print(flags.json ? resultJson("policy test", { ...judged, warnings }) : renderJudgement(judged.image, judged));
  });
}
