/**
 * A lab machine that runs from one of its own images: the image is mounted by a loop device, as the initramfs does it, and is
 * the root of what runs there; the state partition is mounted read-only where the initramfs mounts it. Programs and libraries
 * come from the host.
 */
import { lstatSync } from "node:fs";
import { dirname, join } from "node:path";
import { type LabMachine, type Ran, runProgram } from "./machine.ts";
import { putFile, scratchDirectory } from "./cleanup.ts";
import { mountSlot } from "./slot-root.ts";
import { staticFile } from "./static-file.ts";

export interface Booted extends AsyncDisposable {
  /** Runs `cos WORDS…` inside; the machine's scratch directory is `/tmp` there. */
  cos(...words: string[]): Promise<Ran>;
  /** Calls it by an older tool's name. */
  as(name: string, words: readonly string[], env?: Record<string, string>): Promise<Ran>;
  /** The programs that would have restarted the machine, with their words; nothing inside can. */
  restarts(): string[];
  /** Whether the state partition is mounted read-only at the moment. */
  stateIsReadOnly(): boolean;
  /** Where the state partition is mounted, seen from outside. */
  state: string;
}

/** What an image must have as mount points, besides what `smallSystem` makes. */
export const MOUNT_POINTS = ["bin", "dist", "dev", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp"];

/** In a mount namespace of its own, so that nothing of it can stay. */
const ENTER = `
root=$1 scratch=$2 dist=$3 state=$4 cmdline=$5 etc=$6; shift 6
for d in bin sbin lib lib64 usr; do mount --bind "/$d" "$root/$d"; done
for f in "$root"/bin "$root"/sbin "$root"/usr/bin "$root"/usr/sbin; do
  for f in "$f/systemctl" "$f/reboot" "$f/poweroff"; do
    if [ -f "$f" ] && [ ! -L "$f" ]; then mount --bind "$scratch/restart" "$f"; fi
  done
done
for d in proc dev sys; do mount --rbind "/$d" "$root/$d"; done
mount --bind "$scratch" "$root/tmp"; mount --bind "$dist" "$root/dist"
mount -t tmpfs none "$root/run"; mkdir -p "$root/run/initramfs/cos-state"
mount --bind "$state" "$root/run/initramfs/cos-state"
mount --bind "$cmdline" "$root/proc/cmdline"
mount --bind "$etc" "$root/etc"
for f in reboot poweroff; do chroot "$root" cmp -s "/usr/sbin/$f" /tmp/restart; done
chroot "$root" "$@"
`;

/** What stands in for the programs that restart a machine. */
const RESTART = '#!/bin/sh\necho "${0##*/} $*" >> /tmp/restarts\nexit "$(cat /tmp/restart-status)"\n';

export interface BootOptions {
  /** What GRUB gave to the kernel; the host's own where nothing is said. */
  cmdline?: string;
  /** Files below /etc, besides the image's own; scripts can be run. */
  etc?: Record<string, string>;
  /** What the programs that restart a machine end with. */
  restartStatus?: number;
}

export async function boot(
  machine: Pick<LabMachine, "state" | "directory">,
  slot: "active" | "passive",
  { cmdline, etc = {}, restartStatus = 0 }: BootOptions = {},
): Promise<Booted> {
  await using made = new AsyncDisposableStack();
  const dist = dirname(await staticFile());
  const { path: etcPath } = made.use(scratchDirectory("etc"));
  const { state, root } = made.use(await mountSlot(machine, slot, etcPath));
  const told = join(machine.directory, "cmdline");
  Deno.writeTextFileSync(told, `${cmdline ?? Deno.readTextFileSync("/proc/cmdline").trim()}\n`);
  for (const [path, text] of Object.entries(etc)) {
    putFile(join(etcPath, path), text, text.startsWith("#!") ? 0o755 : 0o644);
  }
  Deno.writeTextFileSync(join(machine.directory, "restart"), RESTART, { mode: 0o755 });
  const restarts = join(machine.directory, "restarts");
  Deno.writeTextFileSync(restarts, "");
  Deno.writeTextFileSync(join(machine.directory, "restart-status"), String(restartStatus));
  const enter = (words: readonly string[], env?: Record<string, string>) => {
    const places = [root, machine.directory, dist, state, told, etcPath];
    // In a namespace of processes, too: what restarts a machine ends nothing but that.
    return runProgram("unshare", ["-mpf", "--mount-proc", "sh", "-ec", ENTER, "sh", ...places, ...words], env);
  };
  const kept = made.move();
  const close = () => kept.disposeAsync();
  const readOnly = () => {
    const line = Deno.readTextFileSync("/proc/self/mountinfo").split("\n").find((l) => l.split(" ")[4] === state);
    return line?.split(" - ")[1]?.split(" ")[2]?.split(",").includes("ro") ?? false;
  };
  return {
    state,
    stateIsReadOnly: readOnly,
    cos: (...words) => enter(["/dist/cos", ...words]),
    as: (name, words, env) => {
      const link = join(machine.directory, name);
      if (lstatSync(link, { throwIfNoEntry: false }) === undefined) Deno.symlinkSync("/dist/cos", link);
      return enter([`/tmp/${name}`, ...words], env);
    },
    restarts: () => Deno.readTextFileSync(restarts).split("\n").filter((line) => line !== ""),
    [Symbol.asyncDispose]: close,
  };
}
