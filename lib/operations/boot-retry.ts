/** `cos boot retry`: after a fallback the active system is put on trial once more. */
import { CosError } from "../base/errors.ts";
import { OBSTACLES } from "../boot/counter.ts";
import type { Events } from "../base/events.ts";
import type { System } from "../system/system.ts";
import { noteImages, noteOperation, onTrial } from "./record-keeping.ts";
import { Session, type StateOptions, type View } from "./session.ts";
import { noteFallback, recordOf } from "./trial.ts";

/** Throws `NOT_COUNTING`, `INCOMPLETE_SYSTEM` and what `Session.open` throws. Returns what is tried. */
export async function bootRetry(system: System, options: StateOptions, events: Events): Promise<string> {
  await using session = await Session.open(system, options, events);
  session.inspect();
  noteFallback(session);
  const view = session.look();
  requireRetriable(view);
  const found = recordOf(view, "active");
  const forget = noteImages(
    session,
    found?.image === undefined ? {} : { [found.uuid]: onTrial(found.image) },
  );
  try {
    await session.run([{ do: "tries", value: "3" }]);
  } catch (thrown) {
    forget();
    throw thrown;
  }
  const at = new Date(system.now()).toISOString();
  noteOperation(session, { kind: "boot retry", at, outcome: "done", image: found?.image?.source });
  return found?.image?.name ?? found?.image?.source ?? "the active system";
}

function requireRetriable({ state, counter, partition, inspected }: View): void {
  const { names, counts, tries, running } = state;
  const refuse = (why: string, hint: string) => {
    return new CosError("NOT_COUNTING", `Cannot put the active system on trial on ${partition.name}: ${why}.`, {
      hint,
    });
  };
  if (!counts) {
    throw refuse(OBSTACLES[counter.obstacle ?? "no-hook"], "See what is missing with: cos boot status");
  }
  if (names.active === undefined || names.active === names.passive || names.passive === undefined) {
    throw refuse("there are not two systems", "Put another beside the one that is there with: cos upgrade IMAGE");
  }
  if (tries !== "0") {
    throw refuse("it did not fall back", "There is nothing to try again; see: cos boot status");
  }
  if (running === names.active) {
    throw refuse("it runs, and has not failed yet", "If it runs well, say so: cos boot good");
  }
  if (inspected.broken.has(names.active)) {
    throw new CosError("INCOMPLETE_SYSTEM", `Cannot try again on ${partition.name}: active.img could not boot.`, {
      hint: "It is damaged, or has no kernel, initrd or boot arguments; replace it with: cos upgrade IMAGE",
    });
  }
  if (!inspected.marking.has(names.active)) {
    throw refuse(
      "active.img has no enabled unit that runs cos boot good, so it would fall back however well it runs",
      "To make it the default without counting: boot it from the menu, and there say cos boot good",
    );
  }
}
