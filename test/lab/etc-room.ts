/** Runs the program with files of its own in /etc, in a mount namespace that ends with it. */
import { join } from "node:path";
import { disposable, putFile, usualUmask } from "./cleanup.ts";
import { type LabMachine, type Ran, runProgram } from "./machine.ts";
import { run } from "./run.ts";
import { staticFile } from "./static-file.ts";

export interface EtcRoom extends AsyncDisposable {
  /** Writes a file below /etc of the room, owned by root and writable by nobody else. */
  write(path: string, content: string | Uint8Array, mode?: number): void;
  remove(path: string): void;
  /** Runs `cos WORDS… --state STATE` there; without a state partition where `machine` is none. */
  cos(...words: string[]): Promise<Ran>;
}

/** The host's /etc, without what it says of policies. */
export async function etcRoom(machine: Pick<LabMachine, "directory"> & { state?: string }): Promise<EtcRoom> {
  usualUmask();
  const etc = join(machine.directory, "etc"), program = await staticFile();
  await run("cp", ["-a", "/etc", etc]);
  for (const name of ["cos", "containers"]) Deno.mkdirSync(join(etc, name), { recursive: true });
  for (const name of ["policy.json", "registries.d"]) {
    await Deno.remove(join(etc, "containers", name), { recursive: true }).catch(() => undefined);
  }
  const { close } = disposable(() => Deno.removeSync(etc, { recursive: true }));
  return {
    write: (path, content, mode) => putFile(join(etc, path), content, mode),
    remove: (path) => Deno.removeSync(join(etc, path)),
    cos: (...words) => {
      const state = machine.state === undefined ? [] : ["--state", machine.state];
      const enter = 'mount --bind "$1" /etc; shift; exec "$@"';
      return runProgram("unshare", ["-m", "sh", "-ec", enter, "sh", etc, program, ...words, ...state]);
    },
    [Symbol.asyncDispose]: close,
  };
}
