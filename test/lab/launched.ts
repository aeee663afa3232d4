/** The program of the static file in tests of the launcher: does what its first word says, and reports in JSON. */

const inWorker = "WorkerGlobalScope" in globalThis;

/** What each open descriptor is, by number. */
function descriptors(): Record<string, string> {
  const entries = [...Deno.readDirSync("/proc/self/fd")].map(({ name }): [string, string] => {
    try {
      return [name, Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return [name, "closed"]; // the descriptor by which the directory was read
    }
  });
  return Object.fromEntries(entries);
}

function report() {
  return { args: Deno.args, env: Deno.env.toObject(), execPath: Deno.execPath(), descriptors: descriptors() };
}

/** A process identifier by way of the C library. */
function callLibc(): number {
  const libc = Deno.dlopen("libc.so.6", { getpid: { parameters: [], result: "i32" } });
  try {
    return libc.symbols.getpid();
  } finally {
    libc.close();
  }
}

async function outputOf(command: string, ...args: string[]): Promise<string> {
  const child = new Deno.Command(command, { args, stdin: "inherit", stderr: "inherit" });
  return new TextDecoder().decode((await child.output()).stdout);
}

function answerOfWorker(): Promise<unknown> {
  const worker = new Worker(import.meta.url, { type: "module" });
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
  });
}

const actions: Record<string, () => unknown> = {
  report,
  lengths: () => ({
    args: Deno.args.map((arg) => arg.length),
    env: Object.values(Deno.env.toObject()).map((value) => value.length),
  }),
  libc: () => callLibc() === Deno.pid,
  worker: answerOfWorker,
  self: async () => JSON.parse(await outputOf("/proc/self/exe", "report", "started by itself")),
  "self by path": async () => JSON.parse(await outputOf(Deno.execPath(), "report", "started by itself")),
  child: () => outputOf(Deno.args[1]!, ...Deno.args.slice(2)),
  /** Why no connection to a host can be made: the name is not found, or nobody listens. */
  connect: () => Deno.connect({ hostname: Deno.args[1]!, port: 1 }).then(() => "connected", (e: Error) => e.message),
  /** What comes of writing into the program's own text in memory. */
  overwrite: () => {
    const [number] = Object.entries(descriptors()).find(([, name]) => name.startsWith("/memfd:start.js"))!;
    try {
      using file = Deno.openSync(`/proc/self/fd/${number}`, { write: true });
      file.writeSync(new Uint8Array(1));
      return "written";
    } catch (error) {
      return (error as Error).name;
    }
  },
  memory: () => Number(/VmHWM:\s*(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"))![1]) * 1024,
  mounts: () => Deno.readTextFileSync("/proc/self/mountinfo"),
  throw: () => {
    throw new Error("thrown on purpose");
  },
};

if (inWorker) {
  (globalThis as unknown as { postMessage(message: unknown): void }).postMessage({
    worker: true,
    home: Deno.env.get("HOME") ?? null,
  });
} else {
  console.log(JSON.stringify(await actions[Deno.args[0] ?? "report"]!()));
}
