/** Waiting a share of a time, so that not all machines of a fleet ask a registry, and reboot, at once. */
import type { Events } from "../base/events.ts";
import { digestHex } from "../base/digest.ts";
import { readTextFile } from "../machine/files.ts";
import { digestOf } from "../oci/verified.ts";
import type { System } from "../system/system.ts";

/** What tells machines apart, the first that is there: machine-id(5), hostname(5) and the kernel's own name of this host. */
const NAMES = ["/etc/machine-id", "/etc/hostname", "/proc/sys/kernel/hostname"];

/**
 * The machine's own share, from 0 to below 1: always the same, and evenly spread over machines. @param name of the machine; it is hashed with
 * a word of ours, as machine-id(5) asks of those who show anything made of it.
 */
export async function shareOf(name: string): Promise<number> {
  const digest = await digestOf(new TextEncoder().encode(`cos upgrade --spread ${name}`));
  return parseInt(digestHex(digest).slice(0, 12), 16) / 2 ** 48;
}

/** @param span seconds. Throws the signal's reason. */
export async function spread(system: System, span: number, events: Events, signal: AbortSignal): Promise<void> {
  const name = NAMES.map((path) => readTextFile(path)?.trim() ?? "").find((text) => text !== "") ?? "";
  const seconds = Math.floor(span * await shareOf(name));
  events({ kind: "wait", text: `Waiting ${seconds} of ${span} seconds, this machine's share (--spread)`, seconds });
  await system.wait(seconds * 1000, signal);
}
