/** The stages around an operation, as existing installations hook into it: on the host, and in the new tree. */
import { CosError, messageOf } from "../base/errors.ts";
import { displayName, displayText } from "../base/byte-string.ts";
import type { FailedHook, HookOutput, OperationRecord } from "../formats/record.ts";
import { runStage } from "../stages/run-stage.ts";
import { hostRoot, planStage, type StagePlan, treeRoot } from "../stages/stages.ts";
import type { LoopDevice } from "../system/loop.ts";
import type { Room } from "../system/room.ts";
import type { TreeRoot } from "../system/tree-root.ts";
import type { Session } from "./session.ts";

export interface HookSettings {
  /** `--strict`: a hook that fails before the switch stops the operation. */
  strict: boolean;
  /** Where cloud-config lies besides the usual places: absolute. */
  cloudInitPaths: readonly string[];
}

/** Where the older tools mount the new tree too. */
export const WORKING_TREE = "/run/cos/workingtree";
/** Milliseconds that one program of a stage may take. */
export const LIMIT = 600_000;
/** Of what hooks print the record keeps the last lines of the first programs. */
const KEPT_PROGRAMS = 64, KEPT_LINES = 20, KEPT_CHARACTERS = 200;
/** What the new tree sees of the host: what programs need, and where cloud-config and persistent data lie. */
const SYSTEM = ["/dev", "/proc", "/sys"], DATA = ["/oem", "/usr/local"];

export class Hooks {
  readonly #failures: FailedHook[] = [];
  readonly #output: HookOutput[] = [];
  readonly #session: Session;
  readonly #settings: HookSettings;
  readonly #operation: string;
  readonly #env: Record<string, string>;
  readonly #signal: AbortSignal;

  /** @param operation part of the stages' names, and for the programs in COS_OPERATION. @param image as the operator named it, in COS_IMAGE. */
  constructor(session: Session, settings: HookSettings, operation: string, image: string, signal: AbortSignal) {
    this.#session = session;
    this.#settings = settings;
    this.#operation = operation;
    const { cloudInitPaths: paths } = settings;
    // The runners of the two generations look for them each in its own way.
    const places = { CLOUD_INIT_PATHS: paths.join(" "), ELEMENTAL_CLOUD_INIT_PATHS: paths.join(",") };
    this.#env = { COS_OPERATION: operation, COS_IMAGE: image, ...paths.length > 0 && places };
    this.#signal = signal;
  }

  /** On the host, before anything is written. Throws `HOOK_FAILED`. */
  async before(): Promise<void> {
    await this.#host(`before-${this.#operation}`, undefined);
  }

  /** In the new tree, below it as its root. Returns whether anything was run. Throws `HOOK_FAILED`. */
  async inTree(tree: TreeRoot, loop: LoopDevice): Promise<boolean> {
    const stage = `after-${this.#operation}-chroot`, { kernel } = this.#session.system;
    const plan = planStage(kernel, treeRoot(kernel, tree), stage, this.#settings.cloudInitPaths);
    if (plan.programs.length === 0 && plan.refused.length === 0) return false;
    const binds = [...SYSTEM, ...DATA.filter(isMountPoint)].filter((path) => tree.find(path.slice(1)) !== undefined);
    await this.#run(stage, plan, { ...roomOf(loop, false, binds), change: true });
    return plan.programs.length > 0;
  }

  /** On the host, with the finished image to be seen, read-only, at `/run/cos/workingtree`. Throws `HOOK_FAILED`. */
  async after(loop: LoopDevice): Promise<void> {
    await this.#host(`after-${this.#operation}`, roomOf(loop, true, []));
  }

  /** On the host, when the switch has counted: what fails is a warning. */
  async afterSwitch(): Promise<void> {
    const stage = `post-${this.#operation}`;
    try {
      await this.#host(stage, undefined);
    } catch (thrown) {
      this.#session.events({
        kind: "warning",
        text: `It is done, but the hooks of ${stage} were not: ${messageOf(thrown)}.`,
        late: true,
      });
    }
  }

  /** For the record of the operation. */
  get notes(): Pick<OperationRecord, "failedHooks" | "hookOutput"> {
    return {
      ...this.#failures.length > 0 && { failedHooks: this.#failures },
      ...this.#output.length > 0 && { hookOutput: this.#output },
    };
  }

  #hear(stage: string, name: string, text: string): void {
    let heard = this.#output.find((one) => one.stage === stage && one.name === name);
    if (heard === undefined) {
      if (this.#output.length === KEPT_PROGRAMS) return;
      heard = { stage, name, lines: [] };
      this.#output.push(heard);
    }
    heard.lines.push(displayText(text, KEPT_CHARACTERS));
    if (heard.lines.length > KEPT_LINES) heard.lines.shift();
  }

  async #host(stage: string, room: Room["private"]): Promise<void> {
    const { kernel } = this.#session.system,
      plan = planStage(kernel, hostRoot(kernel), stage, this.#settings.cloudInitPaths);
    if (plan.programs.length > 0 || plan.refused.length > 0) await this.#run(stage, plan, room);
  }

  async #run(stage: string, plan: StagePlan, room: Room["private"]): Promise<void> {
    const { system: { self }, events } = this.#session;
    events({ kind: "phase", phase: "hooks", text: `Running the hooks of ${stage}` });
    for (const text of plan.refused) events({ kind: "warning", text: `${text}.` });
    if (room !== undefined) Deno.mkdirSync(WORKING_TREE, { recursive: true });
    const failed = await runStage(plan, {
      self,
      limit: LIMIT,
      env: { ...this.#env, COS_STAGE: stage, ...room !== undefined && !room.change && { COS_TREE: WORKING_TREE } },
      room,
      line: (program, line) => {
        const text = displayName(line);
        events({ kind: "output", program, text });
        this.#hear(stage, program, text);
      },
    }, this.#signal);
    for (const { name, why } of failed) {
      this.#failures.push({ stage, name, why });
      events({ kind: "warning", text: `The hook ${name} failed: ${why}.` });
    }
    const [first] = failed;
    if (first !== undefined && this.#settings.strict) throw hookFailed(stage, first);
  }
}

/** What a program sees whose image lies on that device, at `WORKING_TREE`. */
export function roomOf(
  { path }: LoopDevice,
  readOnly: boolean,
  binds: readonly string[],
): NonNullable<Room["private"]> {
  return {
    image: { device: path, at: WORKING_TREE, readOnly },
    binds: binds.map((from) => ({ from, to: from })),
    change: false,
  };
}

/** Only what is a filesystem of its own on this machine is the operator's data; in a lab or a pod it may be anything. */
function isMountPoint(path: string): boolean {
  try {
    return Deno.statSync(path).dev !== Deno.statSync("/").dev;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return false;
    throw thrown;
  }
}

function hookFailed(stage: string, { name, why }: { name: string; why: string }): CosError {
  return new CosError("HOOK_FAILED", `A hook of ${stage} failed: ${name}: ${why}.`, {
    hint: "Mend the hook, or run it again without --strict: a hook that fails is then told and passed over.",
    details: { stage, hook: name },
  });
}
