/**
 * A virtual machine from power-on to the end of one boot. The processor is emulated, so everything is slow and how slow nobody
 * knows: nothing here ends because of time that has passed, only because for long nothing has happened at all.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { disposable, untilStopping } from "../cleanup.ts";
import { connectQmp, type Qmp, writeAll } from "./qmp.ts";
import { readLines } from "./lines.ts";

/** Debian packages that it needs. */
export const QEMU_PACKAGES = ["ovmf", "qemu-system-x86"];

export type Firmware = "bios" | "uefi";

export interface PowerOn {
  firmware: Firmware;
  /** The disk's file. */
  disk: string;
  /** For sockets, and what UEFI remembers from boot to boot. */
  directory: string;
  /** File that gets what comes over the first serial line. */
  console: string;
  /** Where each write and flush is recorded (test/lab/write-log.ts). */
  writeLog?: string;
}

/** A system that has come up. */
export interface Up {
  /** VERSION_ID of its os-release. */
  version: string;
  /** `uname -r` */
  kernel: string;
  /** The file name of the image that is its root, with ` (deleted)` behind it where it has lost that name since. */
  image: string;
  cmdline: string;
}

export interface Answer {
  status: number;
  out: string;
  err: string;
}

/** What the disk has taken. */
export interface Written {
  bytes: number;
  flushes: number;
}

export interface Powered extends AsyncDisposable {
  /** Throws where the machine ends, or where nothing happens any more, before it is up. */
  up(): Promise<Up>;
  /** Runs a script of the guest's shell there, without waiting for it to be up. */
  run(script: string): Promise<Answer>;
  written(): Promise<Written>;
  /** Waits for the machine to go off or to restart. Gives the emulator's word for it: `guest-reset`, `guest-shutdown`. */
  ended(): Promise<string>;
  /** Takes the power away. What the disk has taken, it has. */
  cut(): Promise<void>;
  /** All that came over the first serial line. */
  console(): string;
}

/** Nothing on the serial lines and nothing on the disk for so long means that nothing comes any more. Generous: others work beside. */
const STALLED_MS = 180_000;
const DISK = "disk";

export async function powerOn(settings: PowerOn): Promise<Powered> {
  await untilStopping();
  const socket = (name: string) => join(settings.directory, `${name}.sock`);
  for (const name of ["agent", "qmp"]) await Deno.remove(socket(name)).catch(() => {});
  const child = spawn("qemu-system-x86_64", arguments_(settings, socket), {
    stdio: ["ignore", "ignore", "pipe"],
    detached: true,
  });
  let words = "";
  child.stderr.on("data", (chunk: Uint8Array) => words += new TextDecoder().decode(chunk));
  const off = new Promise<void>((resolve) => {
    child.on("error", (error) => (words += error.message, resolve()));
    child.on("close", () => resolve());
  });
  const { close } = disposable(async () => {
    if (isRunning(child)) child.kill("SIGKILL");
    await off;
  });
  const powered = await wire(settings, child, off, socket).catch(async (error) => {
    await close();
    throw words === "" ? error : new Error(`qemu-system-x86_64: ${words.trim()}`);
  });
  return {
    ...powered,
    cut: async () => {
      if (isRunning(child)) child.kill("SIGKILL");
      await off;
    },
    [Symbol.asyncDispose]: close,
  };
}

function arguments_({ firmware, disk, directory, console, writeLog }: PowerOn, socket: (name: string) => string) {
  return [
    // KVM is not to be had everywhere, and what it would change is the speed.
    ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults", "-display", "none"],
    // One boot is one run: a machine that restarts ends here, and says that it was about to.
    "-no-reboot",
    ...["-chardev", `file,id=console,path=${console}`, "-serial", "chardev:console"],
    ...["-chardev", `socket,id=agent,path=${socket("agent")},server=on,wait=off`, "-serial", "chardev:agent"],
    ...["-qmp", `unix:${socket("qmp")},server=on,wait=off`],
    ...["-blockdev", `driver=file,node-name=file,filename=${disk}`],
    ...["-blockdev", `driver=raw,node-name=${writeLog === undefined ? DISK : "raw"},file=file`],
    ...(writeLog === undefined ? [] : [
      ...["-blockdev", `driver=file,node-name=log,filename=${writeLog}`],
      ...["-blockdev", `driver=blklogwrites,node-name=${DISK},file=raw,log=log,log-super-update-interval=1`],
    ]),
    ...["-device", `virtio-blk-pci,drive=${DISK},id=${DISK}`],
    ...["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="],
    ...(firmware === "uefi" ? uefi(directory) : []),
  ];
}

function uefi(directory: string): string[] {
  const variables = join(directory, "uefi-variables.fd"), place = "/usr/share/OVMF";
  if (!existsSync(variables)) copyFileSync(`${place}/OVMF_VARS_4M.fd`, variables);
  return [
    ...["-drive", `if=pflash,format=raw,readonly=on,file=${place}/OVMF_CODE_4M.fd`],
    ...["-drive", `if=pflash,format=raw,file=${variables}`],
  ];
}

const isRunning = (child: ChildProcess) =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

async function wire(
  settings: PowerOn,
  child: ChildProcess,
  off: Promise<void>,
  socket: (name: string) => string,
): Promise<Omit<Powered, "cut" | keyof AsyncDisposable>> {
  const patiently = async <T>(connect: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await connect();
      } catch (error) {
        // The emulator makes the socket, and then listens.
        if (
          !isRunning(child) ||
          !(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused)
        ) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  };
  const qmp = await patiently(() => connectQmp(socket("qmp")));
  const agent = await patiently(() => connectAgent(socket("agent")));
  void off.then(() => (qmp[Symbol.dispose](), agent.close()));

  const written = async () => {
    const all = await qmp.ask("query-blockstats") as { qdev?: string; stats: Record<string, number> }[];
    const stats = all.find(({ qdev }) => qdev?.includes(DISK))?.stats ?? {};
    const { wr_bytes: bytes = 0, flush_operations: flushes = 0, rd_bytes: read = 0 } = stats;
    return { bytes, flushes, read };
  };
  /** Changes whenever anything happens. */
  const progress = async () =>
    [
      existsSync(settings.console) ? statSync(settings.console).size : 0,
      agent.received(),
      ...Object.values(await written()),
    ].join(" ");
  const said = () => existsSync(settings.console) ? readFileSync(settings.console, "latin1") : "";
  const watch = <T>(what: string, wanted: Promise<T>) => watched(what, wanted, off, progress, said);
  return {
    up: () => watch("comes up", agent.up),
    run: (script) => watch(`has run ${JSON.stringify(script)}`, agent.run(script)),
    written,
    ended: async () => {
      await watch("ends", off);
      return endOf(qmp);
    },
    console: said,
  };
}

function endOf({ events }: Qmp): string {
  const end = events.findLast(({ event }) => event === "SHUTDOWN");
  return String(end?.data?.reason ?? "gone");
}

/** Waits for something as long as the machine is on and something happens in it. */
async function watched<T>(
  what: string,
  wanted: Promise<T>,
  off: Promise<void>,
  progress: () => Promise<string>,
  said: () => string,
): Promise<T> {
  const stop = Promise.withResolvers<never>();
  const fail = (why: string) => stop.reject(new Error(`${why} before it ${what}. Its last words:\n${lastOf(said())}`));
  void off.then(() => setTimeout(() => fail("The machine is off"), 0));
  let last = "", since = Date.now();
  const timer = setInterval(async () => {
    const now = await progress().catch(() => last);
    if (now !== last) [last, since] = [now, Date.now()];
    else if (Date.now() - since > STALLED_MS) fail("Nothing happens any more in the machine");
  }, 1000);
  try {
    return await Promise.race([wanted, stop.promise]);
  } finally {
    clearInterval(timer);
    stop.promise.catch(() => {});
  }
}

const lastOf = (text: string) => text.replaceAll("\r", "").trimEnd().split("\n").slice(-15).join("\n");

interface Agent {
  up: Promise<Up>;
  run(script: string): Promise<Answer>;
  /** Bytes so far. */
  received(): number;
  close(): void;
}

/** The other end of the guest's second serial line (userland.ts). */
async function connectAgent(socket: string): Promise<Agent> {
  const connection = await Deno.connect({ transport: "unix", path: socket });
  const up = Promise.withResolvers<Up>();
  const answers = new Map<string, (answer: Answer) => void>();
  let received = 0, asked = 0, closed = false;
  void (async () => {
    for await (const line of readLines(connection.readable)) {
      received += line.length;
      // Firmware may have spoken on this line too.
      const [word = "", ...fields] = line.split(" ");
      const [one = "", two = "", three = "", four = ""] = fields;
      if (word === "up") {
        up.resolve({ version: one, kernel: two, image: imageOf(textOf(three)), cmdline: textOf(four).trim() });
      }
      answers.get(word)?.({ status: Number(one), out: textOf(two.slice(1)), err: textOf(three.slice(1)) });
      answers.delete(word);
    }
  })().catch((error) => closed || up.reject(error));
  up.promise.catch(() => {});
  return {
    up: up.promise,
    run: (script) =>
      new Promise((resolve, reject) => {
        const id = `c${++asked}`;
        answers.set(id, resolve);
        writeAll(connection, new TextEncoder().encode(`${id} ${btoa(script)}\n`)).catch(reject);
      }),
    received: () => received,
    close: () => {
      closed = true;
      try {
        connection.close();
      } catch (error) {
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    },
  };
}

/** The kernel tells the path by which the image was opened, and whether that name is gone by now (another one may be there). */
const imageOf = (backing: string) => backing.trim().replace(/^.*\//, "");

const textOf = (base64: string) => new TextDecoder().decode(Uint8Array.fromBase64(base64));
