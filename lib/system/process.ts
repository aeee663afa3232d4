/** Other programs, by their names, in the system's directories. */
import { CosError, messageOf } from "../base/errors.ts";

export interface ProgramResult {
  status: number;
  /** What it wrote to standard output and standard error, together. */
  output: string;
}

export interface Programs {
  /** Runs a program to its end. Throws `TOOL_MISSING` where it is not installed; any exit status is a result. */
  run(name: string, args: readonly string[]): Promise<ProgramResult>;
}

// A clean path: the caller's may be empty (initramfs), or lead to something that only looks like the tool.
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
const PACKAGES: Record<string, string> = {
  mke2fs: "e2fsprogs",
  tune2fs: "e2fsprogs",
  e2fsck: "e2fsprogs",
  mksquashfs: "squashfs-tools",
};

export class RealPrograms implements Programs {
  async run(name: string, args: readonly string[]): Promise<ProgramResult> {
    const path = find(name);
    let child;
    try {
      // Standard input is a closed pipe, not `null`: that one needs a /dev/null, which an initramfs may lack.
      child = new Deno.Command(path, {
        args: [...args],
        // A mount may hide the directory that this process was started in: from there nothing can be started.
        cwd: "/",
        clearEnv: true,
        env: { PATH, LC_ALL: "C" },
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) throw toolMissing(name, cause);
      throw new CosError("TOOL_FAILED", `Cannot start ${name}: ${messageOf(cause)}.`, {
        hint: `Check that ${name} is a program that this machine can run.`,
        cause,
      });
    }
    await child.stdin.close();
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return { status: code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  }
}

function find(name: string): string {
  for (const directory of PATH.split(":")) {
    const path = `${directory}/${name}`;
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) throw cause;
    }
  }
  throw toolMissing(name);
}

function toolMissing(name: string, cause?: unknown): CosError {
  const from = PACKAGES[name];
  return new CosError("TOOL_MISSING", `The program ${name} is not installed.`, {
    hint: from === undefined
      ? `Install ${name}; it is looked for in ${PATH}.`
      : `Install the package ${from}; ${name} is looked for in ${PATH}.`,
    cause,
  });
}

/** Runs a program that must succeed; its last line of output is part of the error. */
export async function mustRun(programs: Programs, name: string, args: readonly string[], purpose: string) {
  const { status, output } = await programs.run(name, args);
  if (status === 0) return output;
  const last = output.trim().split("\n").at(-1) ?? "";
  throw new CosError("TOOL_FAILED", `Cannot ${purpose}: ${name} ended with status ${status}: ${last}`, {
    hint: `Look at the output of ${name} with --debug.`,
    details: { tool: name, status, output },
  });
}
