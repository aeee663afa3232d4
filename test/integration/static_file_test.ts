/**
 * The static file (docs/static-file.md): that it runs where there is nothing, says nothing that is not its own, and is
 * steered by nobody. Root is needed, for the rooms it is run in.
 */
import assert from "node:assert/strict";
import configuration from "../../deno.json" with { type: "json" };
import { layOut, type Part } from "../../scripts/launcher/pack.ts";
import { type BareRoom, type Outcome, run, runInBareRoom } from "../lab/bare-room.ts";
import { launchedFile, staticFile, staticFileForArm } from "../lab/static-file.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DENO_VERSION = Deno.readTextFileSync(`${ROOT}scripts/deno-version`).trim();

/** What the line of `cos --version` is, whole. */
const VERSION_LINE = new RegExp(
  `^cos ${configuration.version} \\(commit [0-9a-f]{12}(-dirty)?, Deno ${DENO_VERSION}\\)\n$`.replaceAll(".", "\\."),
);

/** Runs the launcher's test program in a bare room and returns what it reports. */
async function launched(action: string, room: Partial<BareRoom> = {}): Promise<unknown> {
  const outcome = await runInBareRoom({ file: await launchedFile(), ...room, args: [action, ...(room.args ?? [])] });
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.code, 0);
  return JSON.parse(outcome.stdout);
}

interface Report {
  args: string[];
  env: Record<string, string>;
  execPath: string;
  descriptors: Record<string, string>;
}

const report = (room: Partial<BareRoom> = {}) => launched("report", room) as Promise<Report>;

function assertSays(outcome: Outcome, sentence: RegExp) {
  assert.match(outcome.stderr, sentence);
  assert.equal(outcome.stderr.split("\n").length, 2, "one line");
  assert.equal(outcome.stdout, "");
  assert.equal(outcome.code, 127);
}

/** Calls back with a directory that is removed afterwards. */
async function inDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ prefix: "cos-static-file-" });
  try {
    return await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

// ---- Where there is nothing ----

Deno.test("cos --version runs with nothing but itself and /proc, read-only, and an empty environment", async () => {
  const { code, stdout, stderr } = await runInBareRoom({ file: await staticFile(), args: ["--version"] });
  assert.match(stdout, VERSION_LINE);
  assert.equal(stderr, "");
  assert.equal(code, 0);
});

Deno.test("cos --version says nothing else on a terminal", async () => {
  const { code, stdout } = await runInBareRoom({ file: await staticFile(), args: ["--version"], terminal: true });
  assert.match(stdout.replaceAll("\r\n", "\n"), VERSION_LINE);
  assert.equal(code, 0);
});

Deno.test("a user who is not root sees the same, on a terminal too", async () => {
  const user = "--userspec 65534:65534";
  const room = { file: await staticFile(), args: ["--version"] };
  // chroot is the last command that root runs, so its option stands where the launcher's name would follow.
  const onPipe = await runInBareRoom({ ...room, as: user });
  assert.match(onPipe.stdout, VERSION_LINE);
  assert.equal(onPipe.stderr, "");
  const onTerminal = await runInBareRoom({ ...room, as: user, terminal: true });
  assert.match(onTerminal.stdout.replaceAll("\r\n", "\n"), VERSION_LINE);
});

Deno.test("nothing is written or mounted where it could be", async () => {
  const room = { writable: true, env: { HOME: "/home" }, prepare: `mkdir "$room/home" "$room/tmp" "$room/root"` };
  const { stdout, stderr } = await runInBareRoom({
    ...room,
    file: await launchedFile(),
    args: ["mounts"],
    inspect: `find "$room" -xdev | sort | sed "s,$room,,"`,
  });
  assert.equal(stderr, "");
  const [mounts, ...files] = stdout.trimEnd().split("\n");
  assert.deepEqual(files, ["", "/cos", "/home", "/proc", "/root", "/tmp"]);
  const points = (JSON.parse(mounts!) as string).trimEnd().split("\n").map((line) => line.split(" ")[4]);
  assert.deepEqual(points, ["/", "/proc", "/cos"]);
});

Deno.test("the C library can be called where the machine has none", async () => {
  assert.equal(await launched("libc"), true);
});

Deno.test("a worker runs the same program, and sees the user's HOME", async () => {
  assert.deepEqual(await launched("worker", { env: { HOME: "/home/user" } }), { worker: true, home: "/home/user" });
});

Deno.test("it starts itself, by its path and as /proc/self/exe", async () => {
  for (const [action, name] of [["self by path", "/cos"], ["self", "/proc/self/exe"]] as const) {
    const itself = await launched(action) as Report;
    assert.deepEqual(itself.args, ["report", "started by itself"]);
    assert.deepEqual(itself.env, { COS_ARGV0: name });
  }
});

Deno.test("it takes less than 64 MB of memory for a trivial program", async () => {
  const bytes = await launched("memory") as number;
  assert.ok(bytes < 64_000_000, `${bytes} bytes at its peak`);
});

Deno.test("the file has at most 105 MB", async () => {
  const { size } = await Deno.stat(await staticFile());
  assert.ok(size <= 105_000_000, `${size} bytes`);
});

Deno.test("an error that nobody catches is still reported", async () => {
  const { code, stderr } = await runInBareRoom({ file: await launchedFile(), args: ["throw"], env: { NO_COLOR: "1" } });
  assert.match(stderr, /^error: Uncaught .*Error: thrown on purpose\n/);
  assert.equal(code, 1);
});

Deno.test("a kernel that forbids executable memfds does not stop it", async () => {
  const strict = "echo 2 > /proc/sys/vm/memfd_noexec";
  if (!await Deno.stat("/proc/sys/vm/memfd_noexec").catch(() => undefined)) return; // before Linux 6.3
  const { stdout, stderr } = await runInBareRoom({
    file: await launchedFile(),
    args: ["libc"],
    firstProcess: true,
    prepare: strict,
  });
  assert.equal(stderr, "");
  assert.equal(stdout, "true\n");
});

// ---- What it is given ----

Deno.test("arguments arrive as they were, also those that Deno would understand", async () => {
  const args = ["--", "--version", "-A", "--v8-flags=--help", "", "ä €", "--inspect"];
  assert.deepEqual((await report({ args })).args, ["report", ...args]);
});

Deno.test("the name it was called by arrives in COS_ARGV0, also through a link", async () => {
  assert.equal((await report()).env.COS_ARGV0, "/cos");
  const linked = await report({ prepare: `ln -s cos "$room/cos-upgrade"`, command: "/cos-upgrade" });
  assert.equal(linked.env.COS_ARGV0, "/cos-upgrade");
  assert.equal(linked.execPath, "/cos");
});

Deno.test("a name that is not UTF-8 does not abort it", async () => {
  const file = await launchedFile();
  const { code, stderr } = await run("bash", ["-c", `exec -a $'\\xff' "$0" libc`, file]);
  assert.deepEqual([code, stderr], [0, ""]);
});

Deno.test("variables that steer the loader or the runtime have no effect, and arrive as COS_SAVED_...", async () => {
  const steering = {
    LD_PRELOAD: "/nonexistent.so",
    LD_LIBRARY_PATH: "/nonexistent",
    LD_DEBUG: "all",
    GLIBC_TUNABLES: "glibc.malloc.nonsense=1",
    MALLOC_ARENA_MAX: "1",
    GCONV_PATH: "/nonexistent",
    DENO_DIR: "/deno-dir",
    DENO_V8_FLAGS: "--no-such-flag",
    DENO_LOG: "trace",
    DENO_TLS_CA_STORE: "nonsense",
    NODE_OPTIONS: "--no-such-option",
    V8_FLAGS: "--no-such-flag",
    UV_THREADPOOL_SIZE: "none",
    TOKIO_WORKER_THREADS: "none",
    RUST_BACKTRACE: "full",
    RUST_LOG: "trace",
    OTEL_DENO: "true",
    SSLKEYLOGFILE: "/keys",
  };
  const kept = {
    HTTP_PROXY: "http://proxy:3128",
    NO_COLOR: "1",
    TERM: "dumb",
    PATH: "/bin",
    V8_FLAGS_NOT: "1",
    L: "D_",
  };
  // Not in a bare room, since `chroot` on the way in would be steered as well; `env` is not, it only sets them.
  const variables = Object.entries({ ...steering, ...kept }).map(([name, value]) => `${name}=${value}`);
  const file = await launchedFile();
  const { code, stdout, stderr } = await run("env", ["-i", ...variables, file, "report"]);
  assert.deepEqual([code, stderr], [0, ""]);
  const { env } = JSON.parse(stdout) as Report;
  const saved = Object.entries(steering).map(([name, value]) => [`COS_SAVED_${name}`, value]);
  assert.deepEqual(sorted(env), sorted({ ...kept, ...Object.fromEntries(saved), COS_ARGV0: file }));
});

Deno.test("COS_SAVED_... and COS_ARGV0 of the caller are not believed", async () => {
  const { env } = await report({ env: { COS_SAVED_LD_PRELOAD: "/forged", COS_ARGV0: "forged", COS_OTHER: "kept" } });
  assert.deepEqual(sorted(env), { COS_ARGV0: "/cos", COS_OTHER: "kept" });
});

Deno.test("a .npmrc that cannot be read does not stop it, and HOME is what the user had", async () => {
  const prepare = `mkdir "$room/home"; printf '\\377\\n' > "$room/home/.npmrc"`;
  assert.deepEqual(sorted((await report({ env: { HOME: "/home" }, prepare })).env), {
    COS_ARGV0: "/cos",
    HOME: "/home",
  });
  assert.deepEqual((await report()).env, { COS_ARGV0: "/cos" });
  assert.equal((await report({ env: { HOME: "" } })).env.HOME, "");
});

Deno.test("/etc/ld.so.preload is not read", async () => {
  const prepare = `mkdir "$room/etc"; echo /nonexistent.so > "$room/etc/ld.so.preload"`;
  assert.equal(await launched("libc", { prepare }), true);
});

Deno.test("a module for names that wants a newer C library than ours is passed over", async () => {
  await inDirectory(async (directory) => {
    const script = `cd "$0"
      echo 'int newer(void) { return 1; }' > libc.c; echo 'GLIBC_9.99 { global: newer; };' > versions
      gcc -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -Wl,--version-script=versions -o libc.so.6 libc.c
      echo 'int newer(void); int _nss_resolve_gethostbyname4_r(void) { return newer(); }' > module.c
      gcc -shared -fPIC -nostdlib -o libnss_resolve.so.2 module.c ./libc.so.6`;
    const made = await run("sh", ["-ec", script, directory]);
    assert.equal(made.code, 0, made.stderr);
    const prepare = `mkdir "$room/lib" "$room/etc"
      cp ${directory}/libnss_resolve.so.2 "$room/lib"
      echo "hosts: resolve files" > "$room/etc/nsswitch.conf"; echo "127.0.0.1 machine" > "$room/etc/hosts"`;
    assert.match(await launched("connect", { prepare, args: ["machine"] }) as string, /Connection refused/);
  });
});

Deno.test("settings of Deno, Node and npm in the current directory are not read", async () => {
  await inDirectory(async (directory) => {
    for (const name of ["deno.json", "package.json", ".npmrc", ".env", "deno.lock"]) {
      await Deno.writeTextFile(`${directory}/${name}`, "{ nonsense");
    }
    const { stdout, stderr } = await run("sh", ["-c", `cd "$0" && exec "$1" libc`, directory, await launchedFile()]);
    assert.deepEqual([stdout, stderr], ["true\n", ""]);
  });
});

Deno.test("children see neither the launcher's preloads nor the runtime's variables", async () => {
  const { stdout } = await run("env", ["-i", "HOME=/home", "A=b", await launchedFile(), "child", "/usr/bin/env"]);
  assert.deepEqual(JSON.parse(stdout).trimEnd().split("\n").sort(), [
    "A=b",
    `COS_ARGV0=${await launchedFile()}`,
    "HOME=/home",
  ]);
});

Deno.test("of the files that the launcher opens only the program stays open, and children do not get it", async () => {
  const { descriptors } = await report();
  const own = Object.values(descriptors).filter((name) => /memfd|\/cos/.test(name));
  assert.deepEqual(own, ["/memfd:start.js (deleted)"]);
  const { stdout } = await run(await launchedFile(), ["child", "ls", "-l", "/proc/self/fd"]);
  assert.doesNotMatch(stdout, /memfd/);
});

Deno.test("nobody can write into the parts that lie in memory", async () => {
  assert.match(await launched("overwrite") as string, /^(PermissionDenied|NotCapable)$/);
});

Deno.test("an environment and arguments as large as the kernel allows arrive whole", async () => {
  const file = await launchedFile();
  // 6 MiB (three quarters of 8) is the kernel's limit on both, with their pointers, whatever the stack's limit; a
  // single one may have 128 KiB.
  const words = 30_000;
  const script = `ulimit -s unlimited
    export BIG_0 LD_BIG
    LD_BIG=$(head -c 120000 /dev/zero | tr '\\0' x)
    for i in $(seq 0 30); do export "BIG_$i=$LD_BIG"; done
    exec "$0" lengths $(seq ${words})`;
  const { code, stdout, stderr } = await run("bash", ["-c", script, file]);
  assert.deepEqual([code, stderr], [0, ""]);
  const { args, env } = JSON.parse(stdout) as { args: number[]; env: number[] };
  assert.equal(args.length, words + 1);
  assert.equal(env.filter((length) => length === 120_000).length, 32);
});

Deno.test("closed standard files do not become parts of the launcher, with and without /dev/null", async () => {
  const withDevices = await run("sh", ["-c", `exec "$0" report <&- 2>&-`, await launchedFile()]);
  const { descriptors } = JSON.parse(withDevices.stdout) as Report;
  assert.deepEqual([descriptors[0], descriptors[2]], ["/dev/null", "/dev/null"]);
  const silent = await run("sh", ["-c", `exec "$0" report >&-`, await launchedFile()]);
  assert.deepEqual(silent, { code: 0, stdout: "", stderr: "" });
  const bare = await report({ redirections: "<&- 2>&-" });
  const empty = "/memfd:closed (deleted)";
  assert.deepEqual([bare.descriptors[0], bare.descriptors[2]], [empty, empty]);
});

// ---- How it is called ----

Deno.test("it runs by a descriptor when its name is gone", async () => {
  await inDirectory(async (directory) => {
    await Deno.link(await launchedFile(), `${directory}/cos`).catch(() =>
      run("cp", ["--", `${ROOT}.cache/launched`, `${directory}/cos`])
    );
    const script = `exec 9< "$0/cos"; rm "$0/cos"; exec /proc/self/fd/9 self`;
    const { code, stdout, stderr } = await run("bash", ["-c", script, directory]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual(JSON.parse(stdout).args, ["report", "started by itself"]);
  });
});

Deno.test("file capabilities, which make glibc distrust the environment, do not stop it", async () => {
  await inDirectory(async (directory) => {
    await Deno.chmod(directory, 0o755);
    await Deno.copyFile(await launchedFile(), `${directory}/cos`);
    await Deno.chmod(`${directory}/cos`, 0o755);
    giveCapability(`${directory}/cos`);
    // In a bare room, since glibc would find the machine's own libraries otherwise.
    const outcome = await runInBareRoom({ file: `${directory}/cos`, args: ["libc"], as: "--userspec 65534:65534" });
    assert.deepEqual(outcome, { code: 0, stdout: "true\n", stderr: "" });
  });
});

/** Gives a file CAP_NET_RAW, effective and permitted: `struct vfs_cap_data` of linux/capability.h, revision 2. */
function giveCapability(path: string) {
  const data = new Uint8Array(20);
  const view = new DataView(data.buffer);
  view.setUint32(0, 0x02000001, true);
  view.setUint32(4, 1 << 13, true);
  const text = (value: string) => new TextEncoder().encode(value + "\0");
  const parameters = ["buffer", "buffer", "buffer", "usize", "i32"] as const;
  const libc = Deno.dlopen("libc.so.6", { setxattr: { parameters, result: "i32" } });
  try {
    const result = libc.symbols.setxattr(text(path), text("security.capability"), data, BigInt(data.length), 0);
    assert.equal(result, 0);
  } finally {
    libc.close();
  }
}

Deno.test("as the first process it mounts /proc itself", async () => {
  const { env } = await report({ firstProcess: true, proc: "directory" });
  assert.deepEqual(env, { COS_ARGV0: "/cos" });
  const made = await report({ firstProcess: true, proc: false, writable: true });
  assert.deepEqual(made.env, { COS_ARGV0: "/cos" });
});

Deno.test("without /proc it says so", async () => {
  const file = await launchedFile();
  const says = /^cos: \/proc is not mounted: mount it \(mount -t proc proc \/proc\), then run cos again\n$/;
  assertSays(await runInBareRoom({ file, proc: "directory" }), says);
  assertSays(await runInBareRoom({ file, proc: false }), says);
});

Deno.test("a first process that cannot mount /proc says so", async () => {
  const outcome = await runInBareRoom({ file: await launchedFile(), firstProcess: true, proc: false });
  assertSays(outcome, /^cos: cannot mount \/proc \(error 2\): make an empty directory \/proc, then start cos again\n$/);
});

// ---- What is broken ----

/** A file of the launcher and parts that are none, changed by `damage`, runs in a bare room. */
async function runDamaged(parts: Part[], damage: (file: Uint8Array<ArrayBuffer>) => Uint8Array): Promise<Outcome> {
  // The launcher ends before the first part, which begins on the first multiple of 64 KiB.
  const launcher = new Uint8Array(65536);
  using whole = await Deno.open(await launchedFile());
  assert.equal(await whole.read(launcher), launcher.length);
  const pieces = layOut(launcher, parts);
  const last = pieces.at(-1)!;
  const file = new Uint8Array(last.offset + last.content.length);
  for (const { offset, content } of pieces) file.set(content, offset);
  return await inDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/cos`, damage(file), { mode: 0o755 });
    return await runInBareRoom({ file: `${directory}/cos` });
  });
}

const part = (kind: Part["kind"], content = new Uint8Array(8192)): Part => ({ name: kind, kind, content });
const complete = () => [part("loader"), part("runtime"), part("program"), part("library")];

/** An ELF file as the launcher maps it, with one segment; what is given replaces a field. */
function elf(
  fields: { machine?: number; headerOffset?: bigint; headers?: number; fileSize?: bigint; offset?: bigint },
) {
  const file = new Uint8Array(8192);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 3, true); // a shared object
  view.setUint16(18, fields.machine ?? 62, true);
  view.setBigUint64(32, fields.headerOffset ?? 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, fields.headers ?? 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 4, true); // readable
  view.setBigUint64(72, fields.offset ?? 0n, true);
  view.setBigUint64(96, fields.fileSize ?? 8192n, true);
  view.setBigUint64(104, fields.fileSize ?? 8192n, true);
  return file;
}

const MEND = ": the file is incomplete or damaged, copy it here again\n$";

Deno.test("a file that is cut short or longer says so", async () => {
  const notTheSize = new RegExp("^cos: its own file has not the size it was made with" + MEND);
  const noTable = new RegExp("^cos: the table at the end of its own file is missing" + MEND);
  for (const length of [65536, 65537, 70000, 90000, -1]) {
    assertSays(await runDamaged(complete(), (file) => file.subarray(0, length)), noTable);
  }
  assertSays(await runDamaged(complete(), (file) => new Uint8Array([...file, 0])), noTable);
  // Cut from the middle: the table is there, but nothing is where it says.
  const cutInside = (file: Uint8Array) => new Uint8Array([...file.subarray(0, 70000), ...file.subarray(80000)]);
  assertSays(await runDamaged(complete(), cutInside), notTheSize);
});

Deno.test("the real file, cut short, says so", async () => {
  const whole = await staticFile();
  await inDirectory(async (directory) => {
    await Deno.copyFile(whole, `${directory}/cos`);
    const { size } = await Deno.stat(whole);
    for (const length of [size - 1, Math.floor(size / 2), 100_000]) {
      await Deno.truncate(`${directory}/cos`, length);
      const outcome = await runInBareRoom({ file: `${directory}/cos`, args: ["--version"] });
      assertSays(outcome, new RegExp("^cos: the table at the end of its own file is missing" + MEND));
    }
  });
});

Deno.test("a table that makes no sense says so", async () => {
  const trailer = 32, member = 64;
  const senseless = new RegExp("^cos: the table at the end of its own file makes no sense" + MEND);
  const change = (place: number, value: bigint) => (file: Uint8Array<ArrayBuffer>) => {
    new DataView(file.buffer).setBigUint64(file.length - trailer - place, value, true);
    return file;
  };
  const kind = member - 40, offset = member - 48, size = member - 56;
  for (const value of [0n, 6n, 1n << 63n]) assertSays(await runDamaged(complete(), change(kind, value)), senseless);
  for (const value of [1n << 40n, (1n << 64n) - 1n]) {
    assertSays(await runDamaged(complete(), change(offset, value)), senseless);
    assertSays(await runDamaged(complete(), change(size, value)), senseless);
  }
  assertSays(await runDamaged(complete(), change(size, 0n)), senseless);
  assertSays(
    await runDamaged(complete(), change(0, 33n)),
    new RegExp("^cos: the table at the end of its own file is too long" + MEND),
  );
  assertSays(
    await runDamaged(complete(), change(0, 1n << 60n)),
    new RegExp("^cos: the table at the end of its own file is too long" + MEND),
  );
});

Deno.test("a table that lacks a part, or has one twice, says so", async () => {
  const lacks = new RegExp("^cos: the table at the end of its own file lacks a part" + MEND);
  for (const kind of ["loader", "runtime", "program"] as const) {
    assertSays(await runDamaged(complete().filter((p) => p.kind !== kind), (file) => file), lacks);
    assertSays(await runDamaged([...complete(), part(kind)], (file) => file), lacks);
  }
});

Deno.test("a part that is no executable says so", async () => {
  const none = new RegExp("^cos: a part of its own file is no executable for this machine" + MEND);
  const senseless = new RegExp("^cos: a segment of a part of its own file makes no sense" + MEND);
  const noSegments = new RegExp("^cos: a part of its own file has no segments" + MEND);
  const withLoader = (content: Uint8Array<ArrayBuffer>) => [part("loader", content), part("runtime"), part("program")];
  const says = async (content: Uint8Array<ArrayBuffer>, sentence: RegExp) =>
    assertSays(await runDamaged(withLoader(content), (file) => file), sentence);

  await says(new Uint8Array(8192), none);
  await says(elf({ machine: 40 }), none);
  await says(elf({ headers: 0 }), none);
  await says(elf({ headers: 65535 }), none);
  await says(elf({ headerOffset: 1n << 40n }), none);
  await says(elf({ fileSize: 8193n }), senseless);
  await says(elf({ offset: 4096n }), senseless);
  await says(elf({ offset: (1n << 64n) - 4096n, fileSize: 8192n }), senseless);
  const noLoad = elf({});
  noLoad[64] = 0;
  await says(noLoad, noSegments);
});

Deno.test("a file that cannot be read says so", async () => {
  const outcome = await runInBareRoom({
    file: await launchedFile(),
    // A file of its own, so that the mode of the built one stays as it is.
    prepare: `umount "$room/cos"; head -c 100000 "$file" > "$room/cos"; chmod 111 "$room/cos"`,
    writable: true,
    as: "--userspec 65534:65534",
  });
  assertSays(
    outcome,
    /^cos: cannot read its own file \(error 13\): let the user who runs it read it \(chmod a\+rx\)\n$/,
  );
});

Deno.test("set-user-ID is refused", async () => {
  const outcome = await runInBareRoom({
    file: await launchedFile(),
    prepare: `umount "$room/cos"; head -c 100000 "$file" > "$room/cos"; chmod 4755 "$room/cos"`,
    writable: true,
    as: "--userspec 65534:65534",
  });
  assertSays(
    outcome,
    /^cos: it must not be set-user-ID or set-group-ID: take the bit away \(chmod ug-s\) and run it as root\n$/,
  );
});

// ---- How it is made ----

Deno.test("the same sources give the same bytes", async () => {
  await inDirectory(async (directory) => {
    const program = `${directory}/program.ts`;
    await Deno.writeTextFile(program, `console.log("hello", await import("node:os").then((os) => os.EOL));\n`);
    const files: Uint8Array[] = [];
    for (const name of ["first", "second"]) {
      const made = await run(`${ROOT}scripts/build`, ["--program", program, "--output", `${directory}/${name}`]);
      assert.equal(made.code, 0, made.stderr);
      files.push(await Deno.readFile(`${directory}/${name}`));
    }
    assert.ok(files[0]!.length === files[1]!.length && files[0]!.every((byte, i) => byte === files[1]![i]));
  });
});

Deno.test("the file for 64-bit Arm runs under emulation, in a bare room and on a terminal", async () => {
  const packages = await run("bash", ["-c", `. "$0/scripts/lib.sh"; ensure_packages qemu-user-static`, ROOT]);
  assert.equal(packages.code, 0, packages.stderr);
  const room: BareRoom = {
    file: await staticFileForArm(),
    prepare: `cp /usr/bin/qemu-aarch64-static "$room/qemu"`,
    command: "/qemu /cos",
    args: ["--version"],
  };
  const onPipe = await runInBareRoom(room);
  assert.match(onPipe.stdout, VERSION_LINE);
  assert.equal(onPipe.stderr, "");
  const onTerminal = await runInBareRoom({ ...room, terminal: true });
  assert.match(onTerminal.stdout.replaceAll("\r\n", "\n"), VERSION_LINE);
  assertSays(
    await runInBareRoom({ ...room, proc: false }),
    /^cos: \/proc is not mounted as it should be \(error 2\): mount it/,
  );
});

function sorted(record: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1));
}
