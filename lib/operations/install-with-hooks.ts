/** An image with what belongs around it: hooks before, labels and hooks in its tree, hooks behind it. */
import type { Hooks } from "./hooks.ts";
import { type InstalledImage, installImage, type InstallSettings, type Source } from "./install-image.ts";
import { relabel } from "./relabel.ts";
import type { Session } from "./session.ts";

/** Leaves a complete `transition.img`, or nothing of it. Throws what `installImage` throws, `HOOK_FAILED`, `TOOL_FAILED`. */
export async function installWithHooks(
  session: Session,
  source: Source,
  settings: InstallSettings,
  hooks: Hooks,
  signal: AbortSignal,
): Promise<InstalledImage> {
  await hooks.before();
  return await installImage(session, source, {
    ...settings,
    relabel: (tree, loop) => relabel(session, tree, loop, signal),
    finishTree: (tree, loop) => hooks.inTree(tree, loop),
    finished: (loop) => hooks.after(loop),
  }, signal);
}
