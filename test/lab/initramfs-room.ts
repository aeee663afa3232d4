/**
 * A room in which `cos boot root` finds what it finds in an initramfs: a command line, an empty /run, /proc, /sys and /dev, and
 * the lab machine's partitions. All that it mounts is in a mount namespace of its own, which ends with it.
 */
import { join } from "node:path";
import { scratchDirectory } from "./cleanup.ts";
import { mount } from "./disk.ts";
import { type LabMachine, labMachine, runProgram } from "./machine.ts";
import { run } from "./run.ts";
import { type SmallOsOptions, writeSmallOs } from "./small-os.ts";
import { staticFile } from "./static-file.ts";
import * as t from "./tar-writer.ts";

/** Of the state partition in this room: other labs may have their own disks attached, with the usual one or as a room of theirs. */
export const ROOM_LABEL = `ROOM_${Deno.pid}`;

const ENTER = `
cos=$1 cmdline=$2 target=$3; shift 3
mount -t tmpfs none /run
mount --bind "$cmdline" /proc/cmdline
"$cos" boot root --target "$target" --wait 1 "$@" || exit
echo "version $(sed -n 's/^VERSION_ID=//p' "$target/etc/os-release")"
echo "mounts $(for place in "$target" /run/initramfs/cos-state; do findmnt -rno TARGET,FSTYPE,OPTIONS "$place"; done)"
echo "marks $(ls /run/cos)"
echo "repair $("$cos" repair --state /run/initramfs/cos-state)"
`;

export interface RootFound {
  status: number;
  /** What it printed. */
  said: string;
  /** What it warned of, or its error. */
  warnings: string;
  /** `VERSION_ID` of the root. */
  version?: string;
  /** Target, type and options of the root and of the state partition. */
  mounts?: string;
  /** Names of the files in /run/cos. */
  marks?: string;
  /** What `cos repair` says after it. */
  repaired?: string;
}

export interface RoomMachine extends LabMachine {
  image(tag: string): string;
  mountRoot: typeof mountRoot;
  /** Of the filesystem in a slot's image. */
  uuid(slot: string): Promise<string>;
}

/** Entries that make a small system one that can be started. */
export function startable(): t.TarItem[] {
  return [t.directory("sbin"), t.file("sbin/init", "#!/bin/sh\n", { mode: 0o755 })];
}

/** A lab machine whose state partition is found in the room; its images hold something to start. */
export async function roomMachine(
  images: Record<string, SmallOsOptions>,
  stateFilesystem: "ext4" | "btrfs" = "ext4",
): Promise<RoomMachine> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await labMachine({ stateMiB: stateFilesystem === "ext4" ? 128 : 400, stateFilesystem }));
  if (stateFilesystem === "ext4") await run("tune2fs", ["-L", ROOM_LABEL, machine.state]);
  else await run("btrfs", ["filesystem", "label", machine.state, ROOM_LABEL]);
  const layout = join(machine.directory, "os");
  const withInit = Object.entries(images).map(([tag, { replace, more = [] }]) => [
    tag,
    { replace, more: [...startable(), ...more] },
  ]);
  writeSmallOs(layout, Object.fromEntries(withInit));
  const kept = made.move();
  return {
    ...machine,
    image: (tag) => `oci:${layout}:${tag}`,
    mountRoot,
    uuid: async (slot) => {
      await using state = await mount(machine.state);
      return (await run("blkid", ["-p", "-o", "value", "-s", "UUID", join(state.path, `cOS/${slot}.img`)])).trim();
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** @param words what is on the kernel's command line besides the label. */
export async function mountRoot(words: string, ...flags: string[]): Promise<RootFound> {
  await using scratch = scratchDirectory("room");
  const cmdline = join(scratch.path, "cmdline"), target = join(scratch.path, "sysroot");
  Deno.writeTextFileSync(cmdline, `quiet root=LABEL=${ROOM_LABEL} ${words}\n`);
  const args = [await staticFile(), cmdline, target, ...flags];
  const { status, out, err } = await runProgram("unshare", ["-m", "sh", "-uc", ENTER, "sh", ...args]);
  const [said = "", version, mounts, marks, ...repaired] = out.split(/^(?:version|mounts|marks|repair) ?/m).map((
    part,
  ) => part.trim());
  return {
    status,
    said,
    version,
    marks,
    mounts: mounts?.replaceAll(scratch.path, ""),
    repaired: repaired.join(),
    warnings: err,
  };
}
