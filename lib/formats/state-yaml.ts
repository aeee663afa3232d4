/**
 * `state.yaml` of elemental-cli (pkg/types/v1/config.go, `InstallState`) at the top of the state and recovery partitions: which image
 * lies in which slot. What stands in it that is not known here is kept.
 */
import { malformed } from "./configuration.ts";
import { parseTypedYaml, printYaml } from "./yaml.ts";

type Table = Record<string, unknown>;
type Slot = "active" | "passive";

export interface StateYaml {
  /** The comments at its beginning. */
  head: string;
  document: Table;
}

/** What lies in a slot: what lay in one of them before, or an image that was installed since. */
export type SlotContent = { was: Slot } | { source: string; digest?: string };

/** Where labels stand, and what they are where nobody has said it. A squashfs has none. */
const LABELS: [path: string[], label: string, always: boolean][] = [
  [["state"], "COS_STATE", true],
  [["state", "active"], "COS_ACTIVE", true],
  [["state", "passive"], "COS_PASSIVE", true],
  [["recovery"], "COS_RECOVERY", false],
  [["recovery", "recovery"], "COS_SYSTEM", false],
  [["oem"], "COS_OEM", false],
  [["persistent"], "COS_PERSISTENT", false],
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
  const copy = structuredClone(document), state = tableAt(copy, ["state"], true) ?? {};
  const before = structuredClone(state);
  for (const slot of ["active", "passive"] as const) {
    const content = now[slot], { label } = tableIn(before, slot) ?? {};
    const entry = content === undefined ? {} : entryOf(content, before);
    delete entry["label"];
    state[slot] = { ...entry, ...typeof label === "string" && label !== "" && { label } };
  }
  for (const [path, label, always] of LABELS) {
    const table = tableAt(copy, path, always);
    if (table !== undefined && table["fs"] !== "squashfs" && !table["label"]) table["label"] = label;
  }
  return { head, document: { ...copy, date } };
}

function entryOf(content: SlotContent, before: Table): Table {
  if ("was" in content) return { ...tableIn(before, content.was) };
  const { source, digest } = content;
  return { source, ...digest !== undefined && { "source-metadata": { digest } }, fs: "ext2" };
}

function tableAt(document: Table, path: readonly string[], make: boolean): Table | undefined {
  let table = document;
  for (const key of path) {
    const next = tableIn(table, key);
    if (next === undefined && !make) return undefined;
    table = next ?? (table[key] = {} as Table) as Table;
  }
  return table;
}

function tableIn(table: Table, key: string): Table | undefined {
  const value = Object.hasOwn(table, key) ? table[key] : undefined;
  return isTable(value) ? value : undefined;
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
