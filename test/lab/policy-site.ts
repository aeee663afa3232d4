/** A machine that is to decide by a policy, and the registry that its image comes from. */
import { deployedMachine } from "./deployed.ts";
import { type EtcRoom, etcRoom } from "./etc-room.ts";
import type { LabMachine } from "./machine.ts";
import { layoutDescriptor } from "./oci-layout.ts";
import { type Registry, startRegistry } from "./registry.ts";
import { type Place, registryPlace } from "./signing/publish.ts";

export interface PolicySite extends AsyncDisposable {
  machine: LabMachine;
  room: EtcRoom;
  registry: Registry;
  layout: string;
  /** `127.0.0.1:PORT/os/base`. */
  repository: string;
  /** Where v2's signatures go, beside it in the registry. */
  place: Place;
  /** v2's manifest. */
  subject: { digest: string; size: number };
}

/** v1 is deployed, v2 lies in the registry and in a layout. */
export async function policySite(): Promise<PolicySite> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await deployedMachine({ v1: {}, v2: {} }, { stateMiB: 128 }));
  const registry = made.use(await startRegistry()), { layout } = machine, repository = `${registry.host}/os/base`;
  await registry.push(layout, "v2", "os/base:v2");
  const room = made.use(await etcRoom(machine)), kept = made.move();
  return {
    ...{ machine, room, registry, layout, repository },
    place: registryPlace(registry.host, "os/base"),
    subject: layoutDescriptor(layout, "v2"),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** How the active system was proven, as the program tells it. */
export async function proofOf(machine: LabMachine): Promise<Record<string, unknown>> {
  const { slots } = JSON.parse((await machine.must("status", "--json")).out);
  return slots.find((one: { slot: string }) => one.slot === "active").verification;
}
