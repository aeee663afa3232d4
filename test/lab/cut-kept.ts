/** Operations on systems that have a name besides those of the slots: kept by an upgrade, gone to, pinned. */
import type { KnownImage } from "./cut-boots.ts";
import { activeImage, counting } from "./cut-disks.ts";
import type { Keeping } from "./cut-keeping.ts";
import { add, addMaking, type Made, type Recorder, running, type Start } from "./cut-recorder.ts";
import { program, type Work } from "./power-cut.ts";

/** All run from active, on a machine whose systems ran well before. The short form is the one that does most. */
export async function recordKept(recorder: Recorder, v1: Made, short: boolean): Promise<void> {
  const { lab, operations } = recorder, mounts = true as const;
  const cos = (...words: string[]): Work => running(lab, "active", words);
  const upgrade = (tag: string, ...flags: string[]) => cos("upgrade", ...lab.install(tag), ...flags);
  // Only what was seen to run is kept: each upgrade is run from the system that the one before has made.
  const first = { base: v1.disk, on: [v1.image], work: upgrade("v2"), mounts };
  const v2 = await addMaking(recorder, "upgrade of a system that ran well", "v2", first);
  operations.pop(); // no other than those that are recorded already
  const two = [v1.image, v2.image];
  const v3 = await addMaking(recorder, "upgrade --keep 3: the one given up is kept", "v3", {
    ...{ base: v2.disk, on: two, work: upgrade("v3", "--keep", "3"), mounts },
    keeping: { stays: ["v1", "v2"], pinned: [], after: ["kept v1"] },
  });
  if (short) operations.pop();
  const on = [...two, v3.image], stays = ["v1", "v2", "v3"];
  await addMaking(recorder, "upgrade --keep 3: the oldest is removed", "v4", {
    ...{ base: v3.disk, on, work: upgrade("v4", "--keep", "3"), mounts },
    keeping: { stays: ["v2", "v3"], pinned: [], after: ["kept v2"] },
  });
  if (short) return;

  const of = (base: string, work: Work, after: string[], pinned: string[] = []): Start => ({
    ...{ base, on, work, mounts },
    keeping: { stays, pinned, after },
  });
  const switching = of(v3.disk, cos("switch", "v1"), ["kept v2"]);
  await add(recorder, "switch to a kept system", switching);
  if (lab.filesystem !== "btrfs") {
    const base = await counting(v3.disk, "");
    await add(recorder, "switch to a kept system where tries are counted", { ...switching, base, counts: true });
  }
  await add(recorder, "switch to the passive system", of(v3.disk, cos("switch", "passive"), ["kept v1"]));
  await recordPins(recorder, v3.disk, { of, cos, upgrade, on });
}

interface Pinning {
  of(base: string, work: Work, after: string[], pinned?: string[]): Start;
  cos(...words: string[]): Work;
  upgrade(tag: string): Work;
  on: readonly KnownImage[];
}

/** @param base active is v3, passive v2, and v1 is kept. */
async function recordPins(recorder: Recorder, base: string, { of, cos, upgrade, on }: Pinning): Promise<void> {
  const { lab, operations } = recorder;
  const pinnedV1 = await add(recorder, "pin a kept system", of(base, cos("pin", "v1"), ["pinned v1"]));
  const switching = of(pinnedV1, cos("switch", "v1"), ["kept v2", "pinned v1"], ["v1"]);
  await add(recorder, "switch to a pinned system", switching);
  await add(
    recorder,
    "pin --remove of a system without a slot",
    of(pinnedV1, cos("pin", "--remove", "v1"), ["kept v1"]),
  );
  const pinning = of(base, cos("pin", "passive"), ["kept v1", "pinned v2"]);
  const pinnedV2 = await add(recorder, "pin the passive system", pinning);
  await add(recorder, "pin --remove of the passive system", of(pinnedV2, cos("pin", "--remove", "v2"), ["kept v1"]));
  const keeping: Keeping = { stays: ["v2", "v3"], pinned: ["v2"], after: ["pinned v2"] };
  const giving = { ...of(pinnedV2, upgrade("v4"), []), keeping };
  await addMaking(recorder, "upgrade that gives up a pinned system", "v4", giving);
  const after = { stays: ["v1", "v2"], pinned: ["v2"], after: ["kept v1", "pinned v2"] };
  const work = program(lab, "reset", ...lab.install("v4"));
  const disk = await add(recorder, "reset beside a pinned system", { base: pinnedV2, on, work, keeping: after });
  // What a machine is reset to is taken for good, as in the other reset.
  operations.at(-1)?.images.push(await activeImage(lab, disk, "v4"));
}
