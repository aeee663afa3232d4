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
    finishTree: async (tree, loop) => {
      const labelled = await relabel(session, tree, loop, signal);
      return await hooks.inTree(tree, loop) || labelled;
    },
    finished: (loop) => hooks.after(loop),
  }, signal);
}
