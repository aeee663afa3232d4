/**
 * `cos boot install`: GRUB's parts of boot counting on the state partition. What others wrote there is kept; the menu itself
 * (grub.cfg) is never touched: it reads `grubcustom` on all machines of this family.
 */
import { CosError } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import {
  COUNTER_FILE,
  counterBlockObstacle,
  type CountObstacle,
  HOOK_FILE,
  IMAGE_SCRIPT_FILE,
  KEPT_SCRIPT,
  menuKind,
  OBSTACLES,
  placeObstacle,
  readBootCounter,
  SCRIPT_FILE,
  writeTries,
} from "../boot/counter.ts";
import { GRUB_HOOK, GRUB_SCRIPT, IMAGE_HOOK, IMAGE_SCRIPT } from "../boot/grub-parts.ts";
import { parseEnvBlock, printEnvBlock } from "../formats/env-block.ts";
import { fileAt, removeFile, replaceFile } from "../state/plain-file.ts";
import type { System } from "../system/system.ts";
import { noteOperation } from "./record-keeping.ts";
import { Session, type StateOptions } from "./session.ts";

/** How each script of ours begins, whatever version wrote it. */
const [COUNTING = ""] = GRUB_SCRIPT.split("."), [PASSING = ""] = IMAGE_SCRIPT.split(".");
const decoder = new TextDecoder(), encoder = new TextEncoder();

/** Returns the files that were written. Throws `NOT_COUNTING` where GRUB could not count all the same, before anything is written. */
export async function bootInstall(system: System, options: StateOptions, events: Events): Promise<string[]> {
  await using session = await Session.open(system, options, events);
  const { kernel } = system, { partition } = session, { fd } = partition, changed: string[] = [];
  const menu = menuKind(kernel, fd),
    impossible = placeObstacle(partition) ?? (menu === "reads-none" ? "not-sourced" : undefined);
  if (impossible !== undefined) throw cannot(partition.name, OBSTACLES[impossible]);
  const files = readParts(session);
  const write = async (path: string, content: Uint8Array, keepAs?: string) => {
    await replaceFile(kernel, fd, path, content, () => session.checkpoint(), keepAs);
    changed.push(path);
  };
  // The hook last: it must never lead to a script that is not there, nor the script to a block that is not.
  const block = blockToWrite(files.block, counterBlockObstacle(kernel, partition), partition.name);
  if (block !== undefined) await write(COUNTER_FILE, block);
  // A menu that counts by itself needs no script for that.
  if (menu !== "counts") {
    const isOurs = files.script?.startsWith(COUNTING) === true;
    const isAnothers = files.script !== undefined && !isOurs;
    // A script of somebody else's that counts as ours does may stay.
    if (files.script !== GRUB_SCRIPT && !(isAnothers && files.script?.includes("cos_tries") === true)) {
      await write(SCRIPT_FILE, encoder.encode(GRUB_SCRIPT), isAnothers ? KEPT_SCRIPT : undefined);
    }
  }
  if (files.imageScript !== IMAGE_SCRIPT) await write(IMAGE_SCRIPT_FILE, encoder.encode(IMAGE_SCRIPT));
  const { hook = "" } = files, gap = hook === "" || hook.endsWith("\n") ? "" : "\n";
  const wanted = [
    ...(menu === "counts" || hook.includes(SCRIPT_FILE) ? [] : [GRUB_HOOK]),
    ...(hook.includes(IMAGE_SCRIPT_FILE) ? [] : [IMAGE_HOOK]),
  ];
  if (wanted.length > 0) await write(HOOK_FILE, encoder.encode([hook, gap, ...wanted].join("")));
  const { obstacle } = readBootCounter(kernel, partition);
  if (obstacle !== undefined) throw cannot(partition.name, OBSTACLES[obstacle]);
  if (changed.length > 0) note(session, `installed ${changed.join(", ")}`);
  return changed;
}

/** Takes away what `bootInstall` wrote, and puts back what it replaced. */
export async function bootRemove(system: System, options: StateOptions, events: Events): Promise<string[]> {
  await using session = await Session.open(system, options, events);
  const { kernel } = system, { partition } = session, { fd } = partition, changed: string[] = [];
  const files = readParts(session), checkpoint = () => session.checkpoint();
  const { counts, tries } = readBootCounter(kernel, partition);
  if (counts && tries !== "") writeTries(kernel, fd, "");
  const hook = files.hook?.replace(GRUB_HOOK, "").replace(IMAGE_HOOK, "");
  if (hook !== undefined && hook !== files.hook) {
    if (hook === "") await removeFile(kernel, fd, HOOK_FILE, checkpoint);
    else await replaceFile(kernel, fd, HOOK_FILE, encoder.encode(hook), checkpoint);
    changed.push(HOOK_FILE);
  }
  if (files.imageScript?.startsWith(PASSING) === true) {
    await removeFile(kernel, fd, IMAGE_SCRIPT_FILE, checkpoint);
    changed.push(IMAGE_SCRIPT_FILE);
  }
  if (files.script?.startsWith(COUNTING) === true) {
    const kept = fileAt(kernel, fd, KEPT_SCRIPT);
    if (kept !== undefined) {
      await replaceFile(kernel, fd, SCRIPT_FILE, kept, checkpoint);
      await removeFile(kernel, fd, KEPT_SCRIPT, checkpoint);
    } else await removeFile(kernel, fd, SCRIPT_FILE, checkpoint);
    changed.push(SCRIPT_FILE);
    const variables = files.block === undefined
      ? undefined
      : parseEnvBlock(fileAt(kernel, fd, COUNTER_FILE) ?? files.block);
    // An older tool's script goes on with its block; an empty one is nobody's.
    if (kept === undefined && variables?.size === 0) {
      await removeFile(kernel, fd, COUNTER_FILE, checkpoint);
      changed.push(COUNTER_FILE);
    }
  }
  if (changed.length > 0) note(session, `removed ${changed.join(", ")}`);
  return changed;
}

function readParts({ system: { kernel }, partition: { fd, name } }: Session) {
  const read = (path: string): Uint8Array | undefined => {
    try {
      return fileAt(kernel, fd, path);
    } catch (cause) {
      if (!(cause instanceof CosError)) throw cause;
      throw cannot(name, `${path} is no regular file`, cause);
    }
  };
  const text = (path: string): string | undefined => {
    const bytes = read(path);
    return bytes === undefined ? undefined : decoder.decode(bytes);
  };
  return {
    hook: text(HOOK_FILE),
    script: text(SCRIPT_FILE),
    imageScript: text(IMAGE_SCRIPT_FILE),
    block: read(COUNTER_FILE),
  };
}

/** Undefined where the block that is there will do. Variables that are in it stay in it. */
function blockToWrite(
  old: Uint8Array | undefined,
  obstacle: CountObstacle | undefined,
  name: string,
): Uint8Array | undefined {
  if (obstacle === undefined) return undefined;
  const block = printEnvBlock(old === undefined ? new Map() : parseEnvBlock(old) ?? new Map());
  if (obstacle === "full" || block === undefined) throw cannot(name, OBSTACLES.full);
  return block;
}

function note(session: Session, outcome: string): void {
  noteOperation(session, { kind: "boot install", at: new Date(session.system.now()).toISOString(), outcome });
}

function cannot(name: string, why: string, cause?: unknown): CosError {
  return new CosError("NOT_COUNTING", `Cannot let GRUB count boots on ${name}: ${why}.`, {
    hint: "Fallback then stays by hand, with the fallback entry of the boot menu; see: cos boot status",
    cause,
  });
}
