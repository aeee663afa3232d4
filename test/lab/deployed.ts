/** Lab machines with a system on them, as most tests begin; and what several of them do to one, or ask it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot } from "./booted.ts";
import type { DiskOptions } from "./disk.ts";
import { type LabMachine, labMachine } from "./machine.ts";
import { type SmallOsOptions, writeSmallOs } from "./small-os.ts";

export interface DeployedMachine extends LabMachine {
  /** The directory of an OCI layout with all of its images: `/tmp/os` where the machine is booted. */
  layout: string;
  /** The reference of the image of that tag. */
  image(tag: string): string;
}

export interface DeployedOptions extends DiskOptions {
  /** The tag that is deployed. Default: v1. */
  first?: string;
  /** Tags that it is upgraded to, in turn. Default: none. */
  upgrades?: readonly string[];
  /** GRUB counts boots. */
  counts?: boolean;
}

/** @param images by tag, which is the version too. */
export async function deployedMachine(
  images: Record<string, SmallOsOptions>,
  { first = "v1", upgrades = [], counts = false, ...disk }: DeployedOptions = {},
): Promise<DeployedMachine> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await labMachine(disk)), layout = join(machine.directory, "os");
  const image = (tag: string) => `oci:${layout}:${tag}`;
  writeSmallOs(layout, images);
  await machine.must("deploy", image(first), "--no-verify");
  for (const tag of upgrades) await machine.must("upgrade", image(tag), "--no-verify");
  if (counts) await machine.must("boot", "install");
  const kept = made.move();
  return { ...machine, layout, image, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The active system is booted, and says that it is good. */
export async function good(machine: LabMachine): Promise<void> {
  await using booted = await boot(machine, "active");
  const { status, err } = await booted.cos("boot", "good");
  assert.equal(status, 0, err);
}

/** Version and label of the active and of the passive system. */
export async function versions(machine: LabMachine): Promise<string[]> {
  const { active, passive } = await machine.slots();
  return [`${active?.version} ${active?.label}`, `${passive?.version} ${passive?.label}`];
}

/** Those after one upgrade, from v1 to v2. */
export const UPGRADED = ["v2 COS_ACTIVE", "v1 COS_PASSIVE"];
