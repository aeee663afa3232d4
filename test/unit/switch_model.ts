/**
 * A model of the state partition, of GRUB and of the initramfs, in which a list of steps is cut at every point.
 *
 * Linux replays the journal, GRUB does not. So behind steps that no checkpoint covers, Linux may see any prefix of them, and
 * GRUB any prefix of that one. Labels and `cos_tries` are written in place and flushed: both see them at once.
 */
import {
  IMAGE_NAMES,
  type ImageFacts,
  type ImageId,
  type ImageName,
  planRepair,
  planUndo,
  type Slot,
  type SlotState,
  type SwitchStep,
} from "../../lib/state/switch.ts";

export type Names = Partial<Record<ImageName, ImageId>>;

/** The older tools' exchange of two names, which no plan uses; it is here for the controls. */
export type ModelStep = SwitchStep | { do: "exchange"; a: ImageName; b: ImageName };

export interface Disk {
  linux: Names;
  grub: Names;
  labels: Map<ImageId, string>;
  tries: string;
}

export interface ModelImage {
  /** It boots and runs. */
  good: boolean;
  ranWell: boolean;
  /** It marks itself good when it runs. */
  marks: boolean;
  checksummed: boolean;
  /** It could not boot, and whoever looks into it sees that. */
  broken?: boolean;
  /** What the record says of its trial. */
  onTrial?: boolean;
}

export interface World {
  images: ReadonlyMap<ImageId, ModelImage>;
  counts: boolean;
  matchesLabels: boolean;
  /** The initramfs mounts the image that GRUB took the kernel from, by its UUID. */
  fragment: boolean;
}

/** Some machine's own: a plan knows no others. */
export const SLOT_LABELS: Readonly<Record<Slot, string>> = { active: "OUR_ACTIVE", passive: "OUR_PASSIVE" };

export function copyDisk(disk: Disk): Disk {
  return { linux: { ...disk.linux }, grub: { ...disk.grub }, labels: new Map(disk.labels), tries: disk.tries };
}

/** What a program that runs on this machine would find: the input of the functions under test. */
export function stateOf(disk: Disk, world: World, running: ImageId | undefined): SlotState {
  const images = new Map<ImageId, ImageFacts>();
  for (const name of IMAGE_NAMES) {
    const id = disk.linux[name], image = id === undefined ? undefined : world.images.get(id);
    if (id === undefined || image === undefined) continue;
    images.set(id, {
      label: disk.labels.get(id) ?? "",
      checksummed: image.checksummed,
      ranWell: image.ranWell || id === running,
      broken: image.broken,
      onTrial: image.onTrial,
    });
  }
  return {
    names: { ...disk.linux },
    images,
    running,
    tries: disk.tries,
    counts: world.counts,
    matchesLabels: world.matchesLabels,
    slotLabels: SLOT_LABELS,
  };
}

/** One step as Linux carries it out. Throws where the real call would fail: a plan must not contain such a step. */
export function applyStep(disk: Disk, step: ModelStep): Disk {
  const next = copyDisk(disk), names = next.linux;
  const need = (name: ImageName): ImageId => {
    const id = names[name];
    if (id === undefined) throw new Error(`illegal step ${JSON.stringify(step)}: no ${name}`);
    return id;
  };
  switch (step.do) {
    case "link":
      if (names[step.to] !== undefined) throw new Error(`illegal step ${JSON.stringify(step)}: ${step.to} exists`);
      names[step.to] = need(step.from);
      break;
    case "rename": {
      const id = need(step.from);
      // rename(2): where both are names of one file, nothing happens, and both stay.
      if (names[step.to] === id) break;
      names[step.to] = id;
      delete names[step.from];
      break;
    }
    case "exchange": {
      const a = need(step.a);
      names[step.a] = need(step.b);
      names[step.b] = a;
      break;
    }
    case "remove":
      need(step.name);
      delete names[step.name];
      break;
    case "label":
      next.labels.set(need(step.name), step.label);
      break;
    case "tries":
      next.tries = step.value;
      break;
    case "checkpoint":
      next.grub = { ...names };
      break;
  }
  return next;
}

export function applySteps(disk: Disk, steps: readonly ModelStep[]): Disk {
  return steps.reduce(applyStep, disk);
}

/** Every state that a cut of power can leave, with the number of steps begun by then. Equal ones come once a position. */
export function* cuts(start: Disk, steps: readonly ModelStep[]): Generator<{ at: number; disk: Disk }> {
  let now = copyDisk(start);
  /** The directory after each change since the last checkpoint; the first is the checkpoint's. */
  let stages: Names[] = [{ ...now.linux }];
  yield { at: 0, disk: copyDisk(now) };
  for (const [i, step] of steps.entries()) {
    now = applyStep(now, step);
    if (step.do === "checkpoint") stages = [{ ...now.linux }];
    else if (step.do !== "label" && step.do !== "tries") stages.push({ ...now.linux });
    for (let linux = 0; linux < stages.length; linux++) {
      for (let grub = 0; grub <= linux; grub++) {
        yield {
          at: i + 1,
          disk: {
            linux: { ...stages[linux] },
            grub: { ...stages[grub] },
            labels: new Map(now.labels),
            tries: now.tries,
          },
        };
      }
    }
  }
}

export interface Boot {
  disk: Disk;
  /** Undefined where this attempt failed. */
  running?: ImageId;
  slot: Slot;
  /** Kernel of one image, root of another. */
  mixed: boolean;
}

/** One attempt to boot, as GRUB and the initramfs go about it. */
export function bootOnce(before: Disk, world: World): Boot {
  const disk = copyDisk(before);
  let slot: Slot = "active";
  if (world.counts && disk.tries === "0") slot = "passive";
  else if (world.counts && disk.tries !== "") disk.tries = String(Number(disk.tries) - 1);
  const allocated = new Set(Object.values(disk.linux));
  // Blocks of an image that has no name any more are free: trimmed or reused, whatever GRUB's old view says.
  const readable = (name: Slot) => disk.grub[name] !== undefined && allocated.has(disk.grub[name]);
  if (!readable(slot)) slot = slot === "active" ? "passive" : "active";
  const kernel = readable(slot) ? disk.grub[slot] : undefined;
  if (kernel === undefined) return { disk, slot, mixed: false };
  disk.grub = { ...disk.linux }; // the initramfs mounts the partition, and with that the journal is replayed
  const root = world.fragment ? (allocated.has(kernel) ? kernel : undefined) : disk.linux[slot];
  const mixed = root !== undefined && root !== kernel;
  const labelFits = world.fragment || !world.matchesLabels ||
    (root !== undefined && disk.labels.get(root) === SLOT_LABELS[slot]);
  const runs = root !== undefined && !mixed && labelFits && world.images.get(root)?.good === true;
  return { disk, slot, mixed, running: runs ? root : undefined };
}

/** Attempts until something runs; more than the tries that are counted never help. */
export function boot(disk: Disk, world: World): { last: Boot; mixed: boolean; byHand: boolean } {
  let last = bootOnce(disk, world), mixed = last.mixed;
  for (let i = 0; i < 5 && last.running === undefined; i++) {
    last = bootOnce(last.disk, world);
    mixed ||= last.mixed;
  }
  if (last.running !== undefined || world.counts) return { last, mixed, byHand: false };
  // Where nothing counts, a person chooses the fallback entry in the menu: the same as a machine that counted down to it.
  last = bootOnce({ ...copyDisk(last.disk), tries: "0" }, { ...world, counts: true });
  last.disk.tries = disk.tries;
  return { last, mixed, byHand: true };
}

/** Whether a machine boots by itself however often it is switched off before anything of this program has run. */
export function bootsForEver(disk: Disk, world: World): boolean {
  let now = disk;
  for (let i = 0; i < 6; i++) {
    const { last, byHand } = boot(now, world);
    if (last.running === undefined || byHand) return false;
    now = last.disk;
  }
  return true;
}

export interface Figures {
  /** Distinct states of the disk, summed over all cases. */
  states: number;
  nested: number;
  mixed: number;
  /** Promises broken, by their name, with the first example of each. */
  broken: Map<string, { count: number; example: string }>;
}

export function newFigures(): Figures {
  return { states: 0, nested: 0, mixed: 0, broken: new Map() };
}

function note(figures: Figures, promise: string, example: () => string): void {
  const entry = figures.broken.get(promise);
  if (entry === undefined) figures.broken.set(promise, { count: 1, example: example() });
  else entry.count++;
}

export interface Checked {
  name: string;
  world: World;
  start: Disk;
  steps: readonly ModelStep[];
  /** Images that must still have a slot's name afterwards, whatever was cut. */
  mustStay: readonly ImageId[];
  /** Nothing counts here, and the default entry is not promised to work at each instant: a person may have to choose the other. */
  byHand?: boolean;
}

/** Cuts a list of steps everywhere, boots, repairs, cuts the repair everywhere, boots again. */
export function check(checked: Checked, figures: Figures): void {
  const { world, start, steps } = checked;
  const seen = new Set<string>(), seenNested = new Set<string>();
  for (const { at, disk } of cuts(start, steps)) {
    if (!isNew(seen, disk)) continue;
    figures.states++;
    const say = (more = "") =>
      `${checked.name}, cut at ${at} of ${steps.length}${more}: ${show(disk)} in ${
        JSON.stringify({ ...world, images: [...world.images] })
      }`;
    const last = mustBoot(checked, disk, figures, "", say);
    if (last?.running === undefined) continue;
    settle(checked, last.disk, last.running, figures, say);
    const repair = planRepair(stateOf(last.disk, world, last.running));
    for (const cut of cuts(last.disk, repair)) {
      if (!isNew(seenNested, cut.disk, last.running)) continue;
      figures.nested++;
      const sayNested = () => say(`, repair cut at ${cut.at}`);
      const again = mustBoot(checked, cut.disk, figures, " in repair", sayNested);
      if (again?.running !== undefined) settle(checked, again.disk, again.running, figures, sayNested);
    }
  }
}

const IDS: readonly ImageId[] = [1, 2, 3, 4];

function isNew(seen: Set<string>, disk: Disk, running?: ImageId): boolean {
  let key = `${running}${disk.tries}`;
  for (const name of IMAGE_NAMES) key += ` ${disk.linux[name]},${disk.grub[name]}`;
  for (const id of IDS) key += disk.labels.get(id) ?? "-";
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

function mustBoot(checked: Checked, disk: Disk, figures: Figures, where: string, say: () => string): Boot | undefined {
  const { last, mixed, byHand } = boot(disk, checked.world);
  if (mixed) {
    figures.mixed++;
    if (checked.world.fragment) note(figures, `mixed in spite of the fragment${where}`, say);
  }
  if (last.running !== undefined && (!byHand || checked.byHand === true)) return last;
  note(figures, `stuck${where}`, say);
  return undefined;
}

/** What must hold once something runs: repair leaves a consistent machine that has lost nothing and boots again. */
function settle(checked: Checked, disk: Disk, running: ImageId, figures: Figures, say: () => string): void {
  const { world } = checked;
  const repaired = applySteps(disk, planRepair(stateOf(disk, world, running)));
  if (planRepair(stateOf(repaired, world, running)).length > 0) note(figures, "repair has more to do", say);
  const { active, passive, transition, spare, relink } = repaired.linux;
  // The running image's last name stays for the next run, whatever it is.
  if ([transition, relink, spare].some((id) => id !== undefined && id !== running)) note(figures, "leftovers", say);
  if (!Object.values(repaired.linux).includes(running)) note(figures, "running image lost", say);
  for (const id of checked.mustStay) {
    if (id !== active && id !== passive) note(figures, `lost image ${id}`, say);
  }
  // `cos boot good`, where the image has it; then a plain reboot.
  const later = copyDisk(repaired);
  if (running === active && world.images.get(running)?.marks === true) later.tries = "";
  later.grub = { ...later.linux };
  const { last, mixed, byHand } = boot(later, world);
  if (last.running === undefined || (byHand && checked.byHand !== true)) note(figures, "stuck later", say);
  if (mixed) note(figures, "mixed after repair", say);
}

/**
 * Every point of a plan up to its commit, the commit's own steps included, must be undone completely, and the undoing may be
 * cut as well.
 */
export function checkUndo(
  checked: Omit<Checked, "steps">,
  plan: { before: readonly SwitchStep[]; after: readonly SwitchStep[] },
  running: ImageId | undefined,
  figures: Figures,
) {
  const { world, start } = checked, begun = stateOf(start, world, running);
  const steps = [...plan.before, ...plan.after.slice(0, 2)];
  for (let i = 0; i <= steps.length; i++) {
    const now = applySteps(start, steps.slice(0, i));
    const undo = planUndo(begun, stateOf(now, world, running));
    const restored = copyDisk(applySteps(now, undo));
    delete restored.linux.transition;
    const expected = copyDisk(start);
    delete expected.linux.transition;
    if (show({ ...restored, grub: restored.linux }) !== show({ ...expected, grub: expected.linux })) {
      note(figures, "not undone", () => `${checked.name}, error after ${i}: ${show(restored)} for ${show(expected)}`);
    }
    check({ ...checked, name: `${checked.name}, undone after ${i}`, start: now, steps: undo }, figures);
  }
}

export function show(disk: Disk): string {
  const sorted = (names: Names) => Object.entries(names).sort().map(([name, id]) => `${name}=${id}`).join(" ");
  const labels = [...disk.labels].filter(([id]) => Object.values(disk.linux).includes(id)).sort().join(" ");
  return `linux{${sorted(disk.linux)}} grub{${sorted(disk.grub)}} labels{${labels}} tries=${disk.tries || "-"}`;
}
