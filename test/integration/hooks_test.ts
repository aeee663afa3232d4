/** Hooks of an upgrade: on the host and in the new tree, heard, in time, and never in the way of what was promised. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { deployedMachine } from "../lab/deployed.ts";
import { mount, mountImage } from "../lab/disk.ts";
import { type EtcRoom, etcRoom } from "../lab/etc-room.ts";
import { heldBy, type LabMachine } from "../lab/machine.ts";
import { programEntries } from "../lab/libraries.ts";
import { run } from "../lab/run.ts";
import * as t from "../lab/tar-writer.ts";

const BUSYBOX = Deno.readFileSync("/bin/busybox");
const STAGE = "etc/cos/hooks/after-upgrade-chroot.d";

/** A tree with a shell, and hooks of its own. */
function withHooks(hooks: Record<string, string>, more: t.TarItem[] = []): t.TarItem[] {
  const directories = ["bin", "dev", "proc", "sys", "oem", "usr/bin", "etc/cos/hooks", STAGE];
  const applets = ["sh", "touch", "rm", "cat", "sleep", "id", "mount", "ls", "sed", "setsid"];
  return [
    ...directories.map((path) => t.directory(path)),
    t.file("bin/busybox", BUSYBOX, { mode: 0o755 }),
    ...applets.map((name) => t.symlink(`bin/${name}`, "busybox")),
    ...Object.entries(hooks).map(([name, text]) => t.file(`${STAGE}/${name}`, `#!/bin/sh\n${text}\n`, { mode: 0o755 })),
    ...more,
  ];
}

async function machineWith(v2: t.TarItem[]): Promise<LabMachine & { room: EtcRoom; image: string }> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await deployedMachine({ v1: {}, v2: { more: v2 } }, { stateMiB: 200 }));
  const room = made.use(await etcRoom(machine)), kept = made.move();
  return { ...machine, room, image: machine.image("v2"), [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function hook(room: EtcRoom, stage: string, name: string, text: string, mode = 0o755): void {
  room.write(`cos/hooks/${stage}.d/${name}`, `#!/bin/sh\n${text}\n`, mode);
}

Deno.test("hooks run in their order, on the host and in the tree, and what they change in it is kept, checked and known", async () => {
  const inside = [
    'echo "root is $(ls / | tr "\\n" " ")"; touch /etc/by-hook; echo changed > /usr/data; rm /boot/initrd.old',
    "umask; cat /proc/self/mounts > /etc/mounts",
  ];
  await using machine = await machineWith(withHooks({ "10-change": inside[0] ?? "", "20-look": inside[1] ?? "" }, [
    t.file("boot/initrd.old", "old"),
  ]));
  const { room, image } = machine, log = join(machine.directory, "log");
  const note = (what: string) => `echo "${what} $COS_STAGE $COS_OPERATION $COS_IMAGE" >> ${log}`;
  hook(room, "before-upgrade", "10-a", note("a"));
  hook(room, "before-upgrade", "20-b", `${note("b")}; [ ! -e /run/cos/workingtree/etc ]`);
  hook(room, "after-upgrade", "10-c", `${note("c")}; cat $COS_TREE/etc/by-hook && ! touch $COS_TREE/etc/x 2>/dev/null`);
  hook(room, "post-upgrade", "10-d", note("d"));
  const { status, err } = await room.cos("upgrade", image, "--no-verify", "--strict", "--verbose");
  assert.equal(status, 0, err);
  const stages = ["a before", "b before", "c after", "d post"];
  assert.equal(Deno.readTextFileSync(log), stages.map((one) => `${one}-upgrade upgrade ${image}\n`).join(""));
  assert.match(
    err,
    /^ {2}\/etc\/cos\/hooks\/after-upgrade-chroot\.d\/10-change: root is bin boot dev etc lost\+found oem proc run sys tmp usr/m,
  );
  assert.match(err, /^ {2}\/etc\/cos\/hooks\/after-upgrade-chroot\.d\/20-look: 0022$/m);
  {
    await using state = await mount(machine.state);
    await using active = await mountImage(join(state.path, "cOS/active.img"));
    assert.equal(Deno.readTextFileSync(join(active.path, "usr/data")), "changed\n");
    assert.match(Deno.readTextFileSync(join(active.path, "etc/mounts")), / \/proc proc /);
    // What was bound is not in it.
    assert.deepEqual([...Deno.readDirSync(join(active.path, "proc"))], []);
    const record = JSON.parse(Deno.readTextFileSync(join(state.path, "cOS/state.json"))) as {
      images: Record<string, { version: string; changedAfterwards?: string[] }>;
    };
    const changed = Object.values(record.images).find(({ version }) => version === "v2")?.changedAfterwards;
    assert.deepEqual(changed, ["boot", "etc", "etc/by-hook", "etc/mounts", "usr/data"]);
  }
  assert.deepEqual(await heldBy(machine.state), []);
  // What was meant to change is no difference.
  const verified = await machine.cos("verify", "--slot", "active", "--no-verify");
  assert.equal(verified.status, 0, verified.out);
});

Deno.test("a failing hook is told and recorded; with --strict it stops everything before the switch", async () => {
  await using machine = await machineWith(
    withHooks({ "10-fails": "i=0; while [ $i -lt 25 ]; do i=$((i + 1)); echo $i; done; echo so sorry; exit 3" }),
  );
  const { room, image } = machine, before = await machine.slots();
  hook(room, "before-upgrade", "10-fails", "exit 7");
  const strict = await room.cos("upgrade", image, "--no-verify", "--strict", "--json");
  const { error } = JSON.parse(strict.out);
  assert.deepEqual([strict.status, error.code, error.message], [
    35,
    "HOOK_FAILED",
    "A hook of before-upgrade failed: /etc/cos/hooks/before-upgrade.d/10-fails: it ended with the status 7.",
  ]);
  room.remove("cos/hooks/before-upgrade.d/10-fails");
  const inTree = await room.cos("upgrade", image, "--no-verify", "--strict", "--json");
  assert.match(
    JSON.parse(inTree.out).error.message,
    /^A hook of after-upgrade-chroot failed: .*10-fails: it ended with the status 3: so sorry\.$/,
  );
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(await heldBy(machine.state), []);
  hook(room, "post-upgrade", "10-late", "exit 1");
  const { status, err } = await room.cos("upgrade", image, "--no-verify");
  assert.equal(status, 0, err);
  assert.match(
    err,
    /Warning: The hook \/etc\/cos\/hooks\/after-upgrade-chroot\.d\/10-fails failed: it ended with the status 3: so sorry\./,
  );
  await using state = await mount(machine.state);
  const { operations } = JSON.parse(Deno.readTextFileSync(join(state.path, "cOS/state.json"))) as {
    operations: { failedHooks?: { stage: string; why: string }[]; hookOutput?: { name: string; lines: string[] }[] }[];
  };
  assert.deepEqual(operations.at(-1)?.failedHooks?.map(({ stage, why }) => `${stage}: ${why}`), [
    "after-upgrade-chroot: it ended with the status 3: so sorry",
    "post-upgrade: it ended with the status 1",
  ]);
  // What it printed is kept with it, the last lines of it, for root's eyes.
  assert.equal((Deno.statSync(join(state.path, "cOS/state.json")).mode ?? 0) & 0o777, 0o600);
  assert.deepEqual(
    operations.at(-1)?.hookOutput?.map(({ name, lines }) => [name, lines.length, lines[0], lines.at(-1)]),
    [
      ["/etc/cos/hooks/after-upgrade-chroot.d/10-fails", 20, "7", "so sorry"],
    ],
  );
});

Deno.test("a hook cannot keep the image busy, nor go on in it; what others could have written is not run", async () => {
  const daemon = "setsid sh -c 'cd /etc; while true; do sleep 1; done' > /dev/null 2>&1 &";
  await using machine = await machineWith(withHooks({ "10-daemon": daemon }));
  const { room, image } = machine, log = join(machine.directory, "log");
  hook(room, "before-upgrade", "10-open", `echo open >> ${log}`, 0o777);
  hook(room, "before-upgrade", "20-plain", `echo plain >> ${log}`, 0o644);
  hook(room, "before-upgrade", "30-good", `echo good >> ${log}`);
  const { status, err } = await room.cos("upgrade", image, "--no-verify");
  assert.equal(status, 0, err);
  assert.match(err, /10-open is not run: it can be written by others than root\./);
  assert.match(err, /20-plain is not run: it is not executable\./);
  assert.equal(Deno.readTextFileSync(log), "good\n");
  assert.deepEqual(await heldBy(machine.state), []);
  assert.equal((await machine.slots()).active?.version, "v2");
});

Deno.test("stages of cloud-config go through the runner that there is, each with its before and after", async () => {
  const runner = 'echo "$@ $CLOUD_INIT_PATHS $ELEMENTAL_CLOUD_INIT_PATHS" >> /etc/ran';
  await using machine = await machineWith(withHooks({ "50-own": "echo own >> /etc/ran" }, [
    t.directory("srv"),
    // A link to this program by that name is no runner.
    t.symlink("usr/bin/cos-setup", "../../opt/cos"),
    t.directory("opt"),
    t.file("opt/cos", "#!/bin/sh\nexit 1\n", { mode: 0o755 }),
    t.file("usr/bin/elemental", `#!/bin/sh\n${runner}\n`, { mode: 0o755 }),
  ]));
  const { room, image } = machine;
  // The only place with cloud-config is one that the settings name.
  room.write("elemental/config.yaml", "cloud-init-paths: [/srv, /nowhere]\n");
  const { status, err } = await room.cos("upgrade", image, "--no-verify", "--strict");
  assert.equal(status, 0, err);
  await using state = await mount(machine.state);
  await using active = await mountImage(join(state.path, "cOS/active.img"));
  const ran = (stage: string) => `run-stage after-upgrade-chroot${stage} /srv /nowhere /srv,/nowhere\n`;
  assert.equal(
    Deno.readTextFileSync(join(active.path, "etc/ran")),
    `${ran(".before")}${ran("")}own\n${ran(".after")}`,
  );
});

const CONTEXTS = "etc/selinux/targeted/contexts/files";

/** What makes a tree one with SELinux, with a `setfiles` that is this script. */
function selinux(script: string): t.TarItem[] {
  const directories = ["etc/selinux", "etc/selinux/targeted", "etc/selinux/targeted/contexts", CONTEXTS];
  return [
    ...[...directories, "etc/selinux/targeted/policy", "usr/sbin"].map((path) => t.directory(path)),
    t.file("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n"),
    t.file(`${CONTEXTS}/file_contexts`, "/.* system_u:object_r:root_t:s0\n"),
    t.file("etc/selinux/targeted/policy/policy.31", "31"),
    t.file("etc/selinux/targeted/policy/policy.33", "33"),
    t.file("usr/sbin/setfiles", script, { mode: 0o755 }),
  ];
}

Deno.test("a system with SELinux contexts is labelled by its own setfiles, and refused where that fails", async () => {
  {
    await using machine = await machineWith(withHooks({}, selinux('#!/bin/sh\necho "$@" > /etc/labelled\n')));
    const { status, err } = await machine.room.cos("upgrade", machine.image, "--no-verify");
    assert.equal(status, 0, err);
    await using state = await mount(machine.state);
    await using active = await mountImage(join(state.path, "cOS/active.img"));
    assert.equal(
      Deno.readTextFileSync(join(active.path, "etc/labelled")),
      "-c /etc/selinux/targeted/policy/policy.33 -e /dev -e /proc -e /sys -F /etc/selinux/targeted/contexts/files/file_contexts /\n",
    );
  }
  await using machine = await machineWith(withHooks({}, selinux("#!/bin/sh\necho no such type >&2; exit 255\n")));
  const { status, err } = await machine.room.cos("upgrade", machine.image, "--no-verify");
  assert.equal(status, 22);
  assert.match(
    err,
    /Cannot label the new system for SELinux: setfiles failed: it ended with the status 255: no such type\./,
  );
  assert.equal((await machine.slots()).active?.version, "v1");
});

/** Labels all that it sees, as setfiles does: lsetxattr(2), by its number. */
const SETFILES = `#!/usr/bin/perl
sub label {
  my ($path) = @_;
  return if $path =~ m{^/(dev|proc|sys)$};
  my ($name, $value) = ("security.selinux", "label");
  syscall(${Deno.build.arch === "x86_64" ? 189 : 6}, $path, $name, $value, 5, 0) == 0 or die "$path: $!";
  return if -l $path || ! -d $path;
  opendir(my $directory, $path) or die "$path: $!";
  for my $name (readdir $directory) { label($path eq "/" ? "/$name" : "$path/$name") unless $name =~ /^[.][.]?$/; }
}
label("/");
`;

Deno.test("labels are no difference to the image, however many they are; what else is changed with them is", async () => {
  const names = Array.from({ length: 1100 }, (_, i) => `srv/${i}`);
  const tree = async (script: string) => [
    ...withHooks({}),
    ...selinux(script),
    t.symlink("lib64", "usr/lib64"),
    t.directory("srv"),
    ...names.map((name) => t.file(name, name)),
    ...await programEntries(["/usr/bin/perl"]),
  ];
  const verify = async (script: string) => {
    await using machine = await machineWith(await tree(script));
    const upgraded = await machine.room.cos("upgrade", machine.image, "--no-verify");
    assert.equal(upgraded.status, 0, upgraded.err);
    const { status, out } = await machine.cos("verify", "--slot", "active", "--no-verify", "--json");
    const { differences, count } = JSON.parse(out);
    await using state = await mount(machine.state);
    await using active = await mountImage(join(state.path, "cOS/active.img"));
    const read = "import os, sys; print(os.getxattr(sys.argv[1], 'security.selinux').decode(), end='')";
    const label = await run("python3", ["-c", read, join(active.path, "srv/1099")]);
    return { status, count, label, differences };
  };
  assert.deepEqual(await verify(SETFILES), { status: 0, count: 0, label: "label", differences: [] });
  const changing = `${SETFILES}open(my $file, ">", "/srv/7"); print $file "other";\n`;
  const found = await verify(changing);
  assert.deepEqual(
    found.differences.map(({ path, how }: { path: string; how: string }) => `${path} ${how.replace(/ at .*/, "")}`),
    ["srv/7 was changed", "srv/7 has another content"],
  );
});
