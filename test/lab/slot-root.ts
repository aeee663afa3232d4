/** What a lab machine runs from: the image of a slot, mounted by a loop device as the initramfs does it, with its /etc to be changed. */
import { join } from "node:path";
import { attach, mount } from "./disk.ts";
import type { LabMachine } from "./machine.ts";
import { run } from "./run.ts";

export interface SlotRoot extends AsyncDisposable {
  /** Where the state partition is mounted, read-only. */
  state: string;
  /** Where the image is mounted, read-only. */
  root: string;
}

/** @param etc an empty directory, which gets a copy of the image's /etc. */
export async function mountSlot(
  machine: Pick<LabMachine, "state">,
  slot: "active" | "passive",
  etc: string,
): Promise<SlotRoot> {
  await using made = new AsyncDisposableStack();
  const { path: state } = made.use(await mount(machine.state, "ro"));
  const { device } = made.use(await attach(join(state, "cOS", `${slot}.img`), ["--read-only"]));
  const { path: root } = made.use(await mount(device, "ro"));
  await run("cp", ["-a", `${root}/etc/.`, etc]);
  const kept = made.move();
  return { state, root, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
