/** Status, plans and results as text. Pure: tests compare the whole. */
import { formatSize } from "../base/size.ts";
import type { Verification } from "../formats/record.ts";
import type { SlotSummary } from "../operations/summary.ts";
import type { Status } from "../operations/status.ts";
import type { RecoveryUpgraded } from "../operations/upgrade-recovery.ts";
import type { UpgradePlan } from "../operations/upgrade.ts";

export function renderStatus(status: Status): string {
  const lines = [`State partition ${status.partition}, ${formatSize(status.freeBytes)} free`, ""];
  for (const slot of status.slots) lines.push(...slotLines(slot), "");
  for (const { version, name, uuid, source, pinned } of status.kept) {
    lines.push(
      `  ${pinned ? "pinned" : "kept  "}   ${name ?? version ?? uuid}${source === undefined ? "" : `, from ${source}`}`,
    );
  }
  if (status.kept.length > 0) lines.push("");
  lines.push(...fallbackLines(status));
  if (status.runningIsNoSlot) {
    lines.push(
      "The running system is neither slot any more: it was replaced since it was booted. Reboot before the next change.",
    );
  }
  if (status.unfinished) {
    lines.push(
      "An earlier run was cut short. The next command that changes anything mends it; to do only that: cos repair",
    );
  }
  if (status.record === "absent") lines.push("There is no install record: other tools made these images.");
  if (status.record === "damaged") lines.push("The install record is damaged; the next change begins a new one.");
  if (status.record === "newer") {
    lines.push("The install record was written by a newer cos; this one reads it and leaves it as it is.");
  }
  const last = status.lastOperation;
  if (last !== undefined) lines.push(`Last operation: ${last.kind}, ${last.outcome}, ${when(last.at)}`);
  return `${lines.join("\n")}\n`;
}

function slotLines(slot: SlotSummary): string[] {
  const title = slot.slot.padEnd(8);
  if (!slot.present) return [`  ${title} none`];
  if (slot.sameAsActive) return [`  ${title} the same image as active`];
  const mark = slot.running ? "*" : " ";
  const lines = [`${mark} ${title} ${systemName(slot)}${slot.running ? ", running" : ""}`];
  const detail = (name: string, text: string | undefined) => {
    if (text !== undefined) lines.push(`           ${name.padEnd(9)}${text}`);
  };
  detail("from", slot.source);
  detail("digest", slot.digest);
  detail("proof", proof(slot));
  detail("age", downgradeText(slot));
  detail("state", bootText(slot));
  if (slot.labelFits === false) detail("label", `${slot.label || "none"}, not the one that old boot entries look for`);
  return lines;
}

export function systemName({ name, version }: SlotSummary): string {
  if (name === undefined) return version ?? "a system of unknown version";
  return version === undefined || name.includes(version) ? name : `${name} (${version})`;
}

function proof({ verification }: SlotSummary): string | undefined {
  if (verification === undefined) return "NOT VERIFIED: no record of who vouched for it";
  return `${proofText(verification)}, ${when(verification.at)}`;
}

/** Who vouches for an image, or who waived that; without the time of asking. */
export function proofText(verification: Verification): string {
  const { scheme, word, by, key, identity, issuer, time, overlooked = [], policy, scope } = verification;
  if (scheme === "skipped") return `NOT VERIFIED: waived with ${word ?? "?"} by ${by ?? "?"}`;
  const who = identity !== undefined ? `${identity} (vouched for by ${issuer ?? "?"})` : `key ${key ?? "?"}`;
  const signed = time === undefined ? "" : ` at ${when(time)}`;
  const but = overlooked.map((fault) => `; OVERLOOKED: ${fault}`).join("");
  return `${scheme}: signed by ${who}${signed}; by ${policy ?? "a policy"}, scope "${scope ?? "?"}"${but}`;
}

function downgradeText({ downgrade }: SlotSummary): string | undefined {
  if (downgrade === undefined) return undefined;
  return `OLDER than ${downgrade.from}, which ran well here: allowed with ${downgrade.word} by ${downgrade.by}`;
}

function bootText({ boot, installedAt, unreadable }: SlotSummary): string {
  if (unreadable) return "DAMAGED: no filesystem is found in it";
  const since = installedAt === undefined ? "" : `, installed ${when(installedAt)}`;
  switch (boot) {
    case "good":
      return `ran well${since}`;
    case "bad":
      return `FAILED to boot${since}`;
    case "trying":
      return `on trial${since}`;
    case "new":
      return `not known to have run yet${since}`;
    default:
      return `unknown${since}`;
  }
}

function fallbackLines(
  { fallbackArmed, tries, triesWithoutIt, counts, obstacle, cannotMark, oneImage, slots }: Status,
): string[] {
  const passive = slots.find(({ slot }) => slot === "passive");
  if (oneImage) return ["Fallback: none. Both slots are one image; the next upgrade puts another beside it."];
  if (passive?.present !== true) return ["Fallback: none. There is no passive image."];
  if (fallbackArmed && tries === "0") {
    return [
      "Fallback: in use. The tries of the active system are used up; the passive one boots until the next upgrade.",
    ];
  }
  const left = `${tries} ${tries === "1" ? "try" : "tries"} left`;
  if (fallbackArmed && triesWithoutIt > 0) {
    const times = triesWithoutIt === 1 ? "once" : "twice";
    return [
      `Fallback: in this boot, ${left}. The active system was started ${times} and did not come up, unless the passive one was chosen by hand.`,
    ];
  }
  if (fallbackArmed) return [`Fallback: armed, ${left}.`];
  if (counts && cannotMark) {
    return [
      "Fallback: not armed. The active system cannot say that it is good; the fallback entry of the boot menu starts the passive one.",
    ];
  }
  if (counts) {
    return ["Fallback: not armed. Nothing is on trial; the fallback entry of the boot menu starts the passive system."];
  }
  if (obstacle !== undefined && obstacle.code !== "no-hook") {
    return [
      `Fallback: not armed: ${obstacle.text}. The fallback entry of the boot menu starts the passive system.`,
    ];
  }
  return [
    "Fallback: not armed. GRUB does not count failed boots here; the fallback entry of its menu starts the passive system.",
  ];
}

export function renderPlan(plan: UpgradePlan): string {
  const { source, digest, verification } = plan;
  const lines = [`Upgrade to ${source.name}`];
  const detail = (name: string, text: string) => lines.push(`  ${name.padEnd(9)}${text}`);
  if (digest !== undefined) detail("digest", digest);
  detail("proof", proofText(verification));
  const keep = plan.before.find(({ slot }) => slot === plan.keep);
  switch (plan.action) {
    case "nothing":
      detail("plan", "nothing to do: it is the active system already");
      return `${lines.join("\n")}\n`;
    case "switch":
      detail("plan", "it is the passive system already: switch, without fetching anything");
      break;
    case "install":
      if (plan.trial > 0) {
        const boots = plan.trial === 1 ? "1 boot" : `${plan.trial} boots`;
        detail("trial", `GRUB counts ${boots} in which it must say that it is good, else it falls back`);
      }
      if (plan.fetchBytes > 0) detail("fetch", `${formatSize(plan.fetchBytes)}; ${formatSize(plan.freeBytes)} free`);
      break;
  }
  detail("active", `becomes ${source.name}`);
  if (keep !== undefined) detail("passive", `becomes ${systemName(keep)}, the ${keep.slot} system of now`);
  const lost = plan.before.find(({ slot, present, sameAsActive }) => slot !== plan.keep && present && !sameAsActive);
  if (plan.action === "install" && lost !== undefined) detail("removed", systemName(lost));
  if (plan.downgradeFrom !== undefined) detail("age", `OLDER than ${plan.downgradeFrom}, which ran well here: allowed`);
  for (const warning of plan.warnings) lines.push(`Warning: ${warning}`);
  return `${lines.join("\n")}\n`;
}

export function renderSlots(slots: readonly SlotSummary[]): string {
  return slots.map((slot) => `${slotLines(slot).join("\n")}\n`).join("");
}

/** `2026-11-25 04:30 UTC`: the machine's own zone may be wrong or missing where this is read. */
function when(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "at an unknown time";
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

export function renderRecovery({ partition, file, image }: RecoveryUpgraded): string {
  const lines = [`The recovery system on ${partition} is ${image.name ?? image.source} now (${file}):`];
  lines.push(`  from     ${image.source}`, ...image.digest === undefined ? [] : [`  digest   ${image.digest}`]);
  return `${[...lines, `  proof    ${proofText(image.verification)}`].join("\n")}\n`;
}
