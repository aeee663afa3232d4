/**
 * Runs a static file where there is next to nothing: a root directory with the file, /proc and what a test adds.
 *
 * All of it is mounted in a mount namespace of its own, which ends with the process: nothing has to be cleaned up, also
 * after a failure.
 */

export interface BareRoom {
  /** The static file; it is called /cos there. */
  file: string;
  args?: string[];
  /** The whole environment. */
  env?: Record<string, string>;
  /** Shell commands that add to the room, whose path is in $room, before it becomes read-only. */
  prepare?: string;
  /** `false`: no /proc, and no directory for it. `"directory"`: a directory where nothing is mounted. */
  proc?: boolean | "directory";
  /** The room stays writable. */
  writable?: boolean;
  /** Shell commands that look at the room, in $room, afterwards; only without `firstProcess`. */
  inspect?: string;
  /** Standard input, output and error are a terminal. */
  terminal?: boolean;
  /** Runs as process 1 of a PID namespace. */
  firstProcess?: boolean;
  /** Who runs it, as options of chroot: `--userspec 65534:65534`. Root, unless given. */
  as?: string;
  /** What is started in the room, for the shell; `/cos` unless given. */
  command?: string;
  /** Shell redirections, such as `<&-`. */
  redirections?: string;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

const SETUP = `
set -e
mount -t tmpfs -o mode=755 room "$room"
if [ "$proc" != false ]; then mkdir "$room/proc"; fi
if [ "$proc" = true ]; then mount -t proc proc "$room/proc"; fi
: > "$room/cos"
mount --bind "$file" "$room/cos"
`;

/** A word for the shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export async function runInBareRoom(room: BareRoom): Promise<Outcome> {
  const directory = await Deno.makeTempDir({ prefix: "cos-bare-room-" });
  try {
    const variables = Object.entries(room.env ?? {}).map(([name, value]) => quoted(`${name}=${value}`));
    const command = [
      ...["env", "-i", ...variables],
      ...["/usr/sbin/chroot", room.as ?? "", quoted(directory)],
      ...[room.command ?? "/cos", ...(room.args ?? []).map(quoted), room.redirections ?? ""],
    ].join(" ");
    const script = [
      SETUP,
      room.prepare ?? "",
      room.writable ? "" : `mount -o remount,bind,ro "$room/cos"; mount -o remount,ro "$room"`,
      "set +e",
      room.terminal ? `script -qec ${quoted(command)} /dev/null` : command,
      `code=$?; ${room.inspect ?? ""}`,
      "exit $code",
    ].join("\n");
    // The shell is process 1 then, and `exec` hands that on.
    const whole = room.firstProcess ? script.replace(`\n${command}\n`, `\nexec ${command}\n`) : script;
    return await run("unshare", [
      "--mount",
      ...(room.firstProcess ? ["--pid", "--fork", "--kill-child"] : []),
      ...["sh", "-c", whole],
    ], { room: directory, file: room.file, proc: String(room.proc ?? true) });
  } finally {
    await Deno.remove(directory);
  }
}

/** Runs a command to its end. */
export async function run(command: string, args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  const child = new Deno.Command(command, { args, env, stdin: "null" });
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}
