/**
 * `state.yaml` of elemental-cli (pkg/types/v1/config.go, `InstallState`) at the top of the state and recovery partitions: which image
 * lies in which slot. What stands in it that is not known here is kept.
 */
import { USUAL_LABELS } from "../base/labels.ts";
import { malformed } from "./configuration.ts";
import { isTable, parseTypedYaml, printYaml } from "./yaml.ts";

type Table = Record<string, unknown>;
type Slot = "active" | "passive";

export interface StateYaml {
  /** The comments at its beginning. */
  head: string;
  document: Table;
}

export interface Installed {
  source: string;
  digest?: string;
}

/** What lies in a slot: what lay in one of them before, what the recovery system is, or an image that was installed since. */
export type SlotContent = { was: Slot | "recovery" } | Installed;

/** Where labels stand, and what they are where nobody has said it. A squashfs has none. */
const LABELS: [path: string[], label: string, always: boolean][] = [
  [["state"], USUAL_LABELS.state, true],
  [["state", "active"], USUAL_LABELS.active, true],
  [["state", "passive"], USUAL_LABELS.passive, true],
  [["recovery"], USUAL_LABELS.recovery, false],
  [["recovery", "recovery"], USUAL_LABELS.system, false],
  [["oem"], USUAL_LABELS.oem, false],
  [["persistent"], USUAL_LABELS.persistent, false],
  [["efi"], "COS_GRUB", false],
];

/** Throws `CONFIGURATION`. @param path for messages. */
export function parseStateYaml(content: string, path: string): StateYaml {
  const head = /^(?:#[^\n]*\n)*/.exec(content)?.[0] ?? "", document = parseTypedYaml(content, path);
  if (!isTable(document)) throw malformed(path, "it is no table");
  return { head, document };
}

export function printStateYaml({ head, document }: StateYaml): string {
  return `${head}${printYaml(document)}`;
}

/** With what lies in the slots now; each keeps its own label, and labels that were lost are there again. */
export function withSlots(
  { head, document }: StateYaml,
  now: Record<Slot, SlotContent | undefined>,
  date: string,
): StateYaml {
  const copy = structuredClone(document), state = madeAt(copy, ["state"]);
  const before = structuredClone(state);
  for (const slot of ["active", "passive"] as const) {
    const content = now[slot], { label } = tableIn(before, slot) ?? {};
    const entry = content === undefined ? {} : entryOf(content, before, tableAt(copy, ["recovery", "recovery"]));
    delete entry["label"];
    state[slot] = { ...entry, ...typeof label === "string" && label !== "" && { label } };
  }
  return { head, document: { ...labelled(copy), date } };
}

/** With what the recovery system is now. */
export function withRecovery(
  { head, document }: StateYaml,
  installed: Installed,
  fs: "ext2" | "squashfs",
  date: string,
): StateYaml {
  const copy = structuredClone(document), recovery = madeAt(copy, ["recovery"]);
  const { label } = tableIn(recovery, "recovery") ?? {};
  recovery["recovery"] = {
    ...entryOfInstalled(installed),
    fs,
    ...label !== undefined && fs !== "squashfs" && { label },
  };
  return { head, document: { ...labelled(copy), date } };
}

/** Fills in labels that are missing. */
function labelled(document: Table): Table {
  for (const [path, label, always] of LABELS) {
    const table = always ? madeAt(document, path) : tableAt(document, path);
    if (table !== undefined && table["fs"] !== "squashfs" && !table["label"]) table["label"] = label;
  }
  return document;
}

function entryOf(content: SlotContent, slots: Table, recovery: Table | undefined): Table {
  if (!("was" in content)) return { ...entryOfInstalled(content), fs: "ext2" };
  // A slot is no squashfs, whatever it was made from.
  // Copies: what is one object to the printer becomes an anchor, which few readers of this file expect.
  if (content.was === "recovery") return { ...structuredClone(recovery), fs: "ext2" };
  return { ...structuredClone(tableIn(slots, content.was)) };
}

function entryOfInstalled({ source, digest }: Installed): Table {
  return { source, ...digest !== undefined && { "source-metadata": { digest } } };
}

function tableAt(document: Table, path: readonly string[]): Table | undefined {
  return path.reduce<Table | undefined>((table, key) => table && tableIn(table, key), document);
}

/** As above; what of it is not there is made. */
function madeAt(document: Table, path: readonly string[]): Table {
  return path.reduce((table, key) => tableIn(table, key) ?? (table[key] = {} as Table) as Table, document);
}

function tableIn(table: Table, key: string): Table | undefined {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return isTable(value) ? value : undefined;
}
