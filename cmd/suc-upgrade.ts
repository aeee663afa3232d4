import { asCosError } from "../lib/base/errors.ts";
import { shortDigest } from "../lib/base/digest.ts";
import type { Events } from "../lib/base/events.ts";
import { environment } from "../lib/config/environment.ts";
import { type PlanEnvironment, planEnvironment } from "../lib/config/plan.ts";
import { formatReference, type ImageReference, parseReference } from "../lib/formats/reference.ts";
import { askOwnImage } from "../lib/kubernetes/own-image.ts";
import { enterHost } from "../lib/machine/host-root.ts";
import { openPod, type Pod } from "../lib/machine/pod.ts";
import { describeOwnTree, type OwnTree } from "../lib/operations/own-tree.ts";
import { LEAST_KEPT } from "../lib/operations/keeping.ts";
import { requireRoot } from "../lib/operations/session.ts";
import { sucUpgrade } from "../lib/operations/suc-upgrade.ts";
import type { System } from "../lib/system/system.ts";
import { renderError } from "../lib/ui/errors.ts";
import { renderPlan } from "../lib/ui/status.ts";
import { renderOutcome } from "../lib/ui/suc-upgrade.ts";
import { type CommonFlags, type CosContext, runJob } from "./context.ts";
import { imageSettings, machineSettings } from "./settings.ts";

export interface SucFlags extends Pick<CommonFlags, "debug"> {
  readonly verbose?: boolean;
}

/** What is to be installed: an image, or this pod's own files. */
interface Target {
  image: ImageReference;
  tree?: OwnTree;
  /** The operator named it by running this pod, and in no other way. */
  ownImage: boolean;
}

const NOT_DONE = 1;

export async function runSucUpgrade(this: CosContext, flags: SucFlags): Promise<void> {
  await runJob(this, flags, async ({ system, events, signal, output, print }) => {
    requireRoot(system);
    const plan = planEnvironment(environment);
    using pod = openPod(system.kernel);
    try {
      enterHost(system.kernel, system.pid, plan.host);
      const target = await targetOf(system, plan, pod, events, signal), by = `the Plan ${plan.plan}`;
      const settings = {
        ...imageSettings(target.image, { secrets: pod.secrets }, await machineSettings([]), system, events),
        own: target.tree,
        ...target.ownImage ? { waiverWithoutPolicy: { word: "suc-upgrade on the pod's own image", by } } : {},
        allowDowngrade: plan.force ? { word: "FORCE=true", by } : undefined,
        acceptRunning: false,
        retryBad: false,
        keep: LEAST_KEPT,
        once: false,
        force: plan.force,
        recovery: plan.recovery,
      };
      const outcome = await sucUpgrade(system, settings, events, signal, (made) => output.err(renderPlan(made)));
      const text = renderOutcome(outcome, plan.node);
      pod.lastWord(text);
      print(text);
      if (outcome.kind !== "done" && outcome.kind !== "recovery") this.exitStatus = NOT_DONE;
    } catch (thrown) {
      pod.lastWord(renderError(asCosError(thrown), false));
      throw thrown;
    }
  });
}

async function targetOf(
  system: System,
  { image, api, hash, host, plan }: PlanEnvironment,
  pod: Pod,
  events: Events,
  signal: AbortSignal,
): Promise<Target> {
  const say = (text: string) => events({ kind: "phase", phase: "resolve", text });
  if (image !== undefined) {
    say(`Taking the image that UPGRADE_IMAGE names, ${image}`);
    return { image: parseReference(image), ownImage: false };
  }
  const asked = api === undefined || pod.account === undefined
    ? { why: "this pod has no service account" }
    : await askOwnImage(system, api, pod.account, signal);
  if ("image" in asked) {
    say(`Taking this pod's own image, ${formatReference(asked.image)}`);
    return { image: asked.image, ownImage: true };
  }
  const name = `the files of a pod of Plan ${plan}`;
  const tree = await describeOwnTree(system.kernel, pod.tree, { plan: hash, name, mounts: pod.mounts, host });
  say(`Taking the files of this pod, known as ${shortDigest(tree.digest)}, for ${asked.why}`);
  return { image: { kind: "directory", path: "/" }, tree, ownImage: true };
}
