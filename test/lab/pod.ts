/**
 * A pod of system-upgrade-controller on a lab machine that runs from one of its slots: its own tree with what a container runtime
 * puts into it, the host's root at /host with all that is mounted there, and a PID namespace in which process 1 is this lab's:
 * whatever the program does to reboot "the machine" reaches nothing outside.
 */
import { join } from "node:path";
import { scratchDirectory } from "./cleanup.ts";
import { type LabMachine, type Ran, runProgram } from "./machine.ts";
import { podmanStorage } from "./peers.ts";
import { run } from "./run.ts";
import { mountSlot } from "./slot-root.ts";
import { type SmallOsOptions, smallSystem } from "./small-os.ts";
import { staticFile } from "./static-file.ts";
import * as t from "./tar-writer.ts";

export interface PodOptions {
  /** The Plan's and the controller's variables. */
  env?: Record<string, string>;
  /** What `systemctl is-system-running` says of the host, the first time. Default: running. */
  state?: string;
  /** And from the second time on. Default: the same. */
  later?: string;
  /** systemd runs the host, and is asked to reboot by a signal; else the host's own program is. Default: true. */
  systemd?: boolean;
  /** The kernel's random number of this boot. */
  boot?: string;
  cmdline?: string;
  /** Shell commands before it starts; `$host` and `$pod` are the two roots, mounts in them are of this pod alone. */
  prepare?: string;
  /** A fault for strace's `inject=`: `linkat:signal=SIGKILL:when=1`, `openat2:error=ENOSYS`. */
  inject?: string;
}

export interface PodRan extends Ran {
  /** The last word that Kubernetes shows. */
  word: string;
  /** How the host was asked to reboot, each time. */
  reboots: string[];
}

export interface LabHost extends AsyncDisposable {
  /** /etc of the host; goes with it. */
  etc: string;
  /** /tmp of the host. */
  tmp: string;
  /** Runs `suc-upgrade` in a pod whose tree is `tree`. */
  pod(tree: string, options?: PodOptions): Promise<PodRan>;
  /** Runs it in a container that podman makes of the image. */
  container(layout: string, tag: string, options?: Pick<PodOptions, "env" | "boot">): Promise<PodRan>;
}

/** Programs of the host that must never be the real ones. */
const FAKES = {
  reboot: '#!/bin/sh\necho "program $*" >> /tmp/reboots\n',
  systemctl: '#!/bin/sh\nread -r state < /tmp/state; cp /tmp/later /tmp/state; echo "$state"\n',
};

const HOST_SETUP = `
set -e
for d in bin sbin lib lib64 usr; do mount --bind "/$d" "$host/$d"; done
mount -t overlay -o "lowerdir=$scratch/fakes:/usr/sbin" fakes "$host/usr/sbin"
mount -t proc proc "$host/proc"
for d in dev sys; do mount --rbind "/$d" "$host/$d"; done
mount --bind "$scratch" "$host/tmp"
mount --bind "$scratch/etc" "$host/etc"
mount -t tmpfs none "$host/run"; mkdir -p "$host/run/initramfs/cos-state"
mount --bind "$state" "$host/run/initramfs/cos-state"
mount --bind "$scratch/cmdline" "$host/proc/cmdline"
mount --bind "$scratch/boot_id" "$host/proc/sys/kernel/random/boot_id"
[ -z "$systemd" ] || mkdir -p "$host/run/systemd/system"
`;

/** An overlay, as container runtimes have it, and what they put into it. */
const POD_SETUP = `
pod=$scratch/pod; mkdir -p "$scratch/up" "$pod"
mount -t tmpfs none "$scratch/up"; mkdir "$scratch/up/upper" "$scratch/up/work"
mount -t overlay -o "lowerdir=$tree,upperdir=$scratch/up/upper,workdir=$scratch/up/work" pod "$pod"
mkdir -p "$pod/proc" "$pod/dev" "$pod/sys" "$pod/run" "$pod/etc" "$pod/host" "$pod/cos.d"
mount -t proc proc "$pod/proc"
mount -t tmpfs none "$pod/dev"; : > "$pod/dev/termination-log"; mount --bind "$scratch/word" "$pod/dev/termination-log"
mount -t tmpfs none "$pod/run"
for f in etc/hosts etc/resolv.conf etc/hostname; do
  [ -e "$pod/$f" ] || : > "$pod/$f"
  mount --bind "$scratch/runtime" "$pod/$f"
done
: > "$pod/.dockerenv"; mkdir -p "$pod/run/secrets"; : > "$pod/run/.containerenv"
mount --bind "$dist" "$pod/cos.d"
mount --rbind "$host" "$pod/host"
set +e
eval "$prepare"
`;

/** Process 1: it hears the signal that would reboot a machine. */
const FIRST = `
${HOST_SETUP}
echo systemd > "$host/proc/$$/comm"
trap 'echo signal >> "$scratch/reboots"' RTMIN+5
`;

const SUC_UPGRADE = `
${FIRST}
${POD_SETUP}
if [ -z "$inject" ]; then chroot "$pod" /cos.d/suc-upgrade
else strace -f -qqq -o /dev/null -e "trace=\${inject%%:*}" -e "inject=$inject" chroot "$pod" /cos.d/suc-upgrade
fi
exit $?
`;

/** As the controller's jobs: privileged, and in the host's namespaces for processes, IPC and network. */
const PODMAN = `
${FIRST}
mount -t proc proc /proc
# The runtime wants one hierarchy of control groups, and not the older ones beside it.
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
export XDG_RUNTIME_DIR="$scratch/storage/run" TMPDIR="$scratch/storage" CONTAINERS_STORAGE_CONF="$scratch/storage/storage.conf"
umask 022; set +e
podman --log-level=error --cgroup-manager=cgroupfs run --rm --privileged --pid=host --ipc=host --network=host --pids-limit=-1 \\
  --volume "$host:/host:rslave" --volume "$scratch/word:/dev/termination-log" \\
  --volume "$dist/suc-upgrade:/usr/sbin/suc-upgrade:ro" $variables "$image" /usr/sbin/suc-upgrade
code=$?
find /sys/fs/cgroup/libpod_parent -depth -type d -exec rmdir {} + 2>/dev/null
exit $code
`;

/** The tree of an image of that version, as a container's root: the lab's usual small system. */
export async function podTree(machine: Pick<LabMachine, "directory">, name: string, options: SmallOsOptions = {}) {
  const path = join(machine.directory, `tree-${name}`), archive = `${path}.tar`;
  Deno.writeFileSync(archive, t.tar(smallSystem(name, options)));
  Deno.mkdirSync(path);
  await run("tar", ["-x", "-p", "-f", archive, "-C", path]);
  return path;
}

/** The machine, booted into that slot. */
export async function labHost(
  machine: Pick<LabMachine, "state" | "directory">,
  slot: "active" | "passive",
): Promise<LabHost> {
  await using made = new AsyncDisposableStack();
  const { path: scratch } = made.use(scratchDirectory("pod"));
  const dist = join(scratch, "dist"), file = await staticFile();
  for (const name of ["dist", "etc", "fakes"]) Deno.mkdirSync(join(scratch, name));
  // A copy's links would lead out of the pod.
  Deno.linkSync(await besides(file, scratch), join(dist, "suc-upgrade"));
  for (const [name, text] of Object.entries(FAKES)) {
    Deno.writeTextFileSync(join(scratch, "fakes", name), text, { mode: 0o755 });
  }
  const { state, root } = made.use(await mountSlot(machine, slot, join(scratch, "etc")));
  const put = (name: string, text: string) => Deno.writeTextFileSync(join(scratch, name), text);
  const kept = made.move();
  const close = () => kept.disposeAsync();
  const start = async (script: string, options: PodOptions, more: Record<string, string>): Promise<PodRan> => {
    put("word", "");
    put("reboots", "");
    put("runtime", "of the runtime\n");
    put("cmdline", `${options.cmdline ?? "root=LABEL=COS_STATE"}\n`);
    put("boot_id", `${options.boot ?? "one"}\n`);
    put("state", `${options.state ?? "running"}\n`);
    put("later", `${options.later ?? options.state ?? "running"}\n`);
    const systemd = options.systemd === false ? "" : "1";
    const variables = { host: root, state, scratch, dist, systemd, ...more };
    const ran = await runProgram("unshare", [
      ...["--mount", "--pid", "--fork", "--kill-child"],
      ...["bash", "-c", script],
    ], variables);
    return {
      ...ran,
      word: Deno.readTextFileSync(join(scratch, "word")),
      reboots: Deno.readTextFileSync(join(scratch, "reboots")).split("\n").filter((line) => line !== ""),
    };
  };
  return {
    etc: join(scratch, "etc"),
    tmp: scratch,
    pod: (tree, options = {}) => {
      const { inject = "", prepare = "", env } = options;
      return start(SUC_UPGRADE, options, { tree, prepare, inject, ...env });
    },
    container: async (layout, tag, options = {}) => {
      await using storage = podmanStorage(join(scratch, "storage"));
      const image = await storage.pull(layout, tag);
      const variables = Object.entries(options.env ?? {}).map(([name, value]) => `--env=${name}=${value}`).join(" ");
      return await start(PODMAN, options, { image, variables });
    },
    [Symbol.asyncDispose]: close,
  };
}

/** The file on the filesystem of the directory, where a hard link can be made. */
async function besides(file: string, directory: string): Promise<string> {
  const copy = join(directory, "cos");
  await run("cp", ["--reflink=auto", file, copy]);
  return copy;
}
