/**
 * The switch: from what the state partition holds and what is wanted to a list of primitive steps. It is a pure function,
 * so that every list it can give is checked against every power cut (`test/unit/switch_model_test.ts`).
 *
 * Five facts shape the lists:
 * - GRUB does not replay the journal: what boot depends on is only there for it after a *checkpoint*.
 * - A slot is a file name. The system to keep gets the second name, as a hard link, *before* a new one takes the first.
 * - No name is renamed over while it is the last one of an image: blocks that an old view of GRUB still leads to could be
 *   trimmed or reused. The image gets the name `spare` first, and loses it once the change is safe.
 * - The running image is known by its inode, and never loses its last name.
 * - A value of 0 in `cos_tries` never survives a change of slots.
 */

export type Slot = "active" | "passive";

/**
 * Names of images in `cOS/`, each with the suffix `.img`. `transition` is what is being written, `spare` the third name of
 * an image whose slot is being given to another, `relink` the moment between making a hard link and renaming it into place.
 */
export type ImageName = Slot | "transition" | "spare" | "relink";

export const IMAGE_NAMES: readonly ImageName[] = ["active", "passive", "transition", "spare", "relink"];

/** Any value that tells one image file from another: the inode number. */
export type ImageId = number;

export interface ImageFacts {
  /** Undefined where there is none that could be kept right: a squashfs, or a file that is no filesystem. */
  label?: string;
  /** The label cannot be changed in one write: see `relabels`. */
  checksummed: boolean;
  ranWell: boolean;
  /** It could not boot: no filesystem, or no kernel in it. */
  broken?: boolean;
  /** Its tries are being counted; undefined where no record tells. */
  onTrial?: boolean;
}

export interface SlotState {
  names: Partial<Record<ImageName, ImageId>>;
  images: ReadonlyMap<ImageId, ImageFacts>;
  /** The image that this machine runs from; undefined where it runs from none of this partition. */
  running?: ImageId;
  /** `cos_tries` in `boot_assessment`: "3", "2", "1" tries left, "0" rests on the fallback, "" does not count. */
  tries: string;
  /** GRUB counts tries, and its entries reboot instead of waiting for a person (`rd.emergency=reboot`). */
  counts: boolean;
  /** Boot entries match the label inside the image, as the oldest ones do. */
  matchesLabels: boolean;
  /** What they match. */
  slotLabels: Readonly<Record<Slot, string>>;
}

export type SwitchStep =
  /** A hard link of `from` under the new name `to`. */
  | { do: "link"; from: ImageName; to: ImageName }
  | { do: "rename"; from: ImageName; to: ImageName }
  | { do: "label"; name: ImageName; label: string }
  | { do: "tries"; value: string }
  | { do: "remove"; name: ImageName }
  /** What was done so far is in its place for a reader that does not replay the journal. */
  | { do: "checkpoint" };

export type Intent =
  /**
   * `transition` takes the place of active. `arm`: it will mark itself good, so its tries can be counted; `once`: it gets one
   * only.
   */
  | { kind: "upgrade"; arm: boolean; once?: boolean }
  | { kind: "rollback"; arm: boolean }
  /** Both slots become the active image: a reset leaves nothing of what was there before. */
  | { kind: "settle" }
  /** The first images on an empty partition. */
  | { kind: "deploy" };

export interface SwitchPlan {
  /** Everything up to the step that makes the new system bootable; an error here is undone by `planUndo`. */
  before: SwitchStep[];
  /** From its first step on there is a new default; an error later is a warning. */
  after: SwitchStep[];
  /** Which system the fallback is afterwards. */
  keeps: Slot | "none";
}

/**
 * Which slot holds the system that must survive: the running one, else what ran well, else what could boot, active first.
 * Undefined where the running image has no slot's name: nobody can say then what is safe, and only a reboot helps.
 */
export function slotToKeep(state: SlotState): Slot | undefined {
  const { names, running, images } = state;
  if (running !== undefined && images.has(running)) {
    if (names.active === running) return "active"; // while both names are one image, it counts as active
    return names.passive === running ? "passive" : undefined;
  }
  const facts = (slot: Slot) => names[slot] === undefined ? undefined : images.get(names[slot]);
  const usable = (slot: Slot) => facts(slot) !== undefined && facts(slot)?.broken !== true;
  // A machine whose tries are used up rests on its fallback: that one runs.
  const order: Slot[] = state.counts && state.tries === "0" ? ["passive", "active"] : ["active", "passive"];
  return order.find((slot) => usable(slot) && facts(slot)?.ranWell === true) ?? order.find(usable) ??
    order.find((slot) => names[slot] !== undefined) ?? "active";
}

/**
 * The state must be one that `planRepair` has nothing to do for. Undefined where the intent makes no sense in it: no slot to
 * keep, nothing to roll back to, a partition that is not empty.
 */
export function planSwitch(state: SlotState, intent: Intent): SwitchPlan | undefined {
  switch (intent.kind) {
    case "deploy":
      return planDeploy(state);
    case "upgrade": {
      const keep = slotToKeep(state);
      if (keep === undefined || state.names[keep] === undefined) return undefined;
      const tries = !intent.arm ? "" : intent.once === true ? "1" : "3";
      return keep === "active" ? upgradeKeepActive(state, tries) : upgradeKeepPassive(state, tries);
    }
    case "rollback":
      return planRollback(state, intent.arm);
    case "settle":
      return planSettle(state);
  }
}

function planDeploy({ names, counts, tries }: SlotState): SwitchPlan | undefined {
  if (names.active !== undefined || names.passive !== undefined) return undefined;
  const list = new StepList();
  // Left by systems that are gone: nothing must count down, or rest on, the first ones.
  if (counts && tries !== "") list.tries("");
  list.link("transition", "passive");
  const before = list.steps.splice(0);
  list.rename("transition", "active").checkpoint();
  return { before, after: list.steps, keeps: "none" };
}

/** @param tries what is left to be counted at the end. */
function upgradeKeepActive(state: SlotState, tries: string): SwitchPlan {
  const list = new StepList();
  list.spare(state, "passive");
  return takeOver(list, state, "transition", tries);
}

/**
 * The running active image gets the name passive as well, then `from` takes the name active. Where GRUB counts, the kept
 * image is labelled before: an old entry that matches labels then fails on it and falls back to it, until the next step.
 */
function takeOver(list: StepList, state: SlotState, from: "transition" | "spare", tries: string): SwitchPlan {
  const { counts, slotLabels } = state, relabel = relabels(state);
  // In a moment both names are one image, and then GRUB must not count down to a fallback entry that may not match its label.
  if (counts && state.tries !== "") list.tries("3");
  list.relink(state, "active", "passive");
  if (counts) list.tries("3");
  if (relabel(from === "spare" ? "passive" : from)) list.label(from, slotLabels.active);
  if (counts && relabel("active")) list.label("passive", slotLabels.passive);
  const before = list.steps.splice(0);
  list.rename(from, "active").checkpoint();
  if (!counts && relabel("active")) list.label("passive", slotLabels.passive);
  // Only now: until the switch counts, a cut costs the old system a try, and two cuts in a row must not use them up.
  if (counts && tries !== "3") list.tries(tries);
  list.dropSpare(from === "transition" && state.names.passive !== undefined);
  return { before, after: list.steps, keeps: "passive" };
}

function upgradeKeepPassive(state: SlotState, tries: string): SwitchPlan {
  const { counts, slotLabels } = state, list = new StepList(), relabel = relabels(state);
  list.spare(state, "active");
  // A machine that rests on its fallback must go on doing so until the new system is there.
  if (counts && state.tries !== "0") list.tries("3");
  if (relabel("transition")) list.label("transition", slotLabels.active);
  const before = list.steps.splice(0);
  list.rename("transition", "active").checkpoint();
  if (counts) list.tries(tries);
  list.dropSpare(state.names.active !== undefined);
  return { before, after: list.steps, keeps: "passive" };
}

function planRollback(state: SlotState, arm: boolean): SwitchPlan | undefined {
  const { names, counts, images, slotLabels } = state, relabel = relabels(state);
  if (names.passive === undefined || names.passive === names.active) return undefined;
  const keep = slotToKeep(state);
  if (keep === undefined) return undefined;
  const list = new StepList();
  // An active system that ran well stays as the fallback, even where the machine runs the passive one at the moment.
  if (names.active !== undefined && (keep === "active" || images.get(names.active)?.ranWell === true)) {
    // Passive's image keeps its name `spare` on the way: that one becomes active.
    list.spare(state, "passive");
    return takeOver(list, state, "spare", arm ? "3" : "");
  }
  // The machine runs passive because active is bad: both names become the passive image. For a moment its label fits only the
  // fallback entry, so GRUB must be on its way there: resting on it already, or counting down to it.
  list.spare(state, "active");
  if (counts && state.tries !== "0") list.tries("3");
  if (names.active !== undefined) list.link("passive", "relink");
  const before = list.steps.splice(0);
  if (names.active === undefined) list.link("passive", "active").checkpoint();
  else list.rename("relink", "active").checkpoint();
  if (counts) list.tries("3");
  if (relabel("passive")) list.label("active", slotLabels.active);
  if (counts) list.tries("");
  list.dropSpare(names.active !== undefined);
  return { before, after: list.steps, keeps: "none" };
}

/** The other system keeps its name `spare` until the active one has both: there is a fallback up to that step. */
function planSettle(state: SlotState): SwitchPlan | undefined {
  const { names, counts, tries } = state;
  if (names.active === undefined || names.active === names.passive) return undefined;
  const list = new StepList();
  // In a moment both names are one image, and then GRUB must not count down to a fallback entry that may not match its label.
  if (counts && tries !== "") list.tries("3");
  list.spare(state, "passive");
  if (names.passive !== undefined) list.link("active", "relink");
  const before = list.steps.splice(0);
  if (names.passive === undefined) list.link("active", "passive").checkpoint();
  else list.rename("relink", "passive").checkpoint();
  if (counts && tries !== "") list.tries("");
  list.dropSpare(names.passive !== undefined);
  return { before, after: list.steps, keeps: "none" };
}

/**
 * Brings whatever a cut left to a consistent state; nothing to do twice in a row. It must be the first thing that any command
 * does that writes, and it is safe to be cut itself.
 */
export function planRepair(state: SlotState): SwitchStep[] {
  const names = { ...state.names }, list = new StepList(), relabel = relabels(state), { slotLabels } = state;
  const labels = new Map<ImageId, string | undefined>();
  for (const [id, { label }] of state.images) labels.set(id, label);
  let tries = state.tries;
  const label = (name: ImageName, wanted: string) => {
    const id = names[name];
    if (id === undefined || labels.get(id) === wanted || !relabel(name, names)) return;
    list.label(name, wanted);
    labels.set(id, wanted);
  };
  const setTries = (value: string) => {
    if (!state.counts || tries === value) return;
    list.tries(value);
    tries = value;
  };
  const one = () => names.active !== undefined && names.active === names.passive;
  /** Only one label fits two names: the default entry gets it, and the fallback, which is the same, is not asked for. */
  const oneImage = () => {
    if (names.active === undefined) return;
    if (labels.get(names.active) !== slotLabels.active && relabel("active", names)) {
      setTries("3");
      label("active", slotLabels.active);
    }
    setTries("");
  };

  // What never took a slot's name never became bootable. The running image's last name is left, whatever it is.
  for (const name of ["relink", "transition"] as const) {
    if (names[name] === undefined || isLastName(name, names, state.running)) continue;
    list.remove(name).checkpoint();
    delete names[name];
  }
  if (names.spare !== undefined && names.active === undefined) {
    // Only a hand, or an older tool, can have done this: give the image back the name that GRUB asks for.
    label("spare", slotLabels.active);
    list.rename("spare", "active").checkpoint();
    names.active = names.spare;
    delete names.spare;
  } else if (names.spare !== undefined && (one() || names.passive === undefined) && names.spare !== names.active) {
    // The change was cut before it counted: the old fallback is one again.
    if (one()) oneImage();
    label("spare", slotLabels.passive);
    list.rename("spare", "passive").checkpoint();
    names.passive = names.spare;
    delete names.spare;
  } else if (names.spare !== undefined && !isLastName("spare", names, state.running)) {
    list.remove("spare").checkpoint();
    delete names.spare;
  }
  if (one()) oneImage();
  else {
    label("active", slotLabels.active);
    label("passive", slotLabels.passive);
  }
  // What a cut run has armed for its own steps must not count down a system that ran well and is known not to be on trial. Of
  // one that is not known to have run, the counting may be the only way back.
  const active = names.active === undefined ? undefined : state.images.get(names.active);
  if (active?.onTrial === false && active.ranWell && tries !== "0") setTries("");
  return list.steps;
}

/**
 * From a state in the middle of a plan, up to the checkpoint of the step that makes the new system bootable, back to the one
 * it started from, the last change first: that step, labels, names, counter. What is in `transition` by then is the caller's to
 * remove.
 */
export function planUndo(start: SlotState, now: SlotState): SwitchStep[] {
  const list = new StepList(), names = { ...now.names };
  if (names.active !== start.names.active) backOut(list, start, names);
  for (const slot of ["active", "passive"] as const) {
    const id = start.names[slot], was = id === undefined ? undefined : start.images.get(id)?.label;
    const name = nameOf(names, id);
    if (was !== undefined && name !== undefined && now.images.get(id ?? 0)?.label !== was) list.label(name, was);
  }
  if (names.relink !== undefined) {
    list.remove("relink").checkpoint();
    delete names.relink;
  }
  const passive = start.names.passive;
  if (names.passive !== passive) {
    if (passive === undefined) list.remove("passive").checkpoint();
    else if (names.spare === passive) {
      list.rename("spare", "passive").checkpoint();
      delete names.spare;
    }
  }
  if (names.spare !== undefined && start.names.spare === undefined) list.remove("spare").checkpoint();
  if (start.counts && now.tries !== start.tries) list.tries(start.tries);
  return list.steps;
}

/** Active is the old image again. The new one keeps a name until that is safe: an old view of GRUB may lead to it. */
function backOut(list: StepList, start: SlotState, names: SlotState["names"]): void {
  const { active } = names, before = start.names.active;
  const fresh = active !== undefined && !start.images.has(active);
  const hold = active !== undefined && start.names.transition === active || fresh ? "transition" : "spare";
  if (active !== undefined && names[hold] === undefined && otherName(names, "active") === undefined) {
    list.link("active", hold).checkpoint();
    names[hold] = active;
  }
  const source = nameOf(names, before);
  if (before === undefined) list.remove("active").checkpoint();
  else if (source !== undefined) list.link(source, "relink").rename("relink", "active").checkpoint();
  names.active = before;
}

function nameOf(names: SlotState["names"], id: ImageId | undefined): ImageName | undefined {
  return id === undefined ? undefined : IMAGE_NAMES.find((name) => names[name] === id);
}

function otherName(names: SlotState["names"], name: ImageName): ImageName | undefined {
  return IMAGE_NAMES.find((other) => other !== name && names[other] === names[name]);
}

/** The state once `steps` are done. The steps must be legal in it, as those of a plan are. */
export function afterSteps(state: SlotState, steps: readonly SwitchStep[]): SlotState {
  const names = { ...state.names }, images = new Map(state.images);
  let { tries } = state;
  for (const step of steps) {
    if (step.do === "remove") delete names[step.name];
    else if (step.do === "tries") tries = step.value;
    else if (step.do === "label") {
      const id = names[step.name], facts = id === undefined ? undefined : images.get(id);
      if (id !== undefined && facts !== undefined) images.set(id, { ...facts, label: step.label });
    } else if (step.do === "link") names[step.to] = names[step.from];
    else if (step.do === "rename" && names[step.to] !== names[step.from]) {
      names[step.to] = names[step.from];
      delete names[step.from];
    }
  }
  return { ...state, names, images, tries };
}

/**
 * Whether the label of what has a name is to be kept right. In an image whose superblock carries a checksum, label and
 * checksum lie in two sectors, and a torn pair does not mount: such an image is relabelled only where an entry looks at it.
 */
function relabels({ images, matchesLabels, names: start }: SlotState) {
  return (name: ImageName, names: SlotState["names"] = start): boolean => {
    const id = names[name];
    if (id === undefined) return name === "transition"; // planned before it is made, and made without checksums
    const facts = images.get(id);
    return facts?.label !== undefined && (matchesLabels || !facts.checksummed);
  };
}

function isLastName(name: ImageName, names: SlotState["names"], running: ImageId | undefined): boolean {
  return running !== undefined && names[name] === running && otherName(names, name) === undefined;
}

class StepList {
  readonly steps: SwitchStep[] = [];

  link(from: ImageName, to: ImageName): this {
    this.steps.push({ do: "link", from, to });
    return this;
  }

  rename(from: ImageName, to: ImageName): this {
    this.steps.push({ do: "rename", from, to });
    return this;
  }

  label(name: ImageName, label: string): this {
    this.steps.push({ do: "label", name, label });
    return this;
  }

  tries(value: string): this {
    this.steps.push({ do: "tries", value });
    return this;
  }

  remove(name: ImageName): this {
    this.steps.push({ do: "remove", name });
    return this;
  }

  checkpoint(): this {
    this.steps.push({ do: "checkpoint" });
    return this;
  }

  /** The image in `slot` gets its third name, where there is one. */
  spare({ names }: SlotState, slot: Slot): this {
    return names[slot] === undefined ? this : this.link(slot, "spare").checkpoint();
  }

  dropSpare(had: boolean): this {
    return had ? this.remove("spare").checkpoint() : this;
  }

  /** `to` becomes a second name of what `from` names. Renaming one name of a file over another does nothing: that is left out. */
  relink({ names }: SlotState, from: Slot, to: Slot): this {
    if (names[from] === names[to]) return this;
    if (names[to] === undefined) return this.link(from, to).checkpoint();
    return this.link(from, "relink").rename("relink", to).checkpoint();
  }
}
