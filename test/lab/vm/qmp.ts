/** QEMU's machine protocol (QMP): questions to a running emulator, and what it tells by itself. */
import { readLines } from "./lines.ts";

export interface Qmp extends Disposable {
  /** What came without being asked for, in order. */
  events: { event: string; data?: Record<string, unknown> }[];
  ask(command: string, args?: Record<string, unknown>): Promise<unknown>;
}

/** Throws where the emulator says no, or is gone. */
export async function connectQmp(socket: string): Promise<Qmp> {
  const connection = await Deno.connect({ transport: "unix", path: socket });
  const events: Qmp["events"] = [];
  const answers: { resolve(value: unknown): void; reject(error: Error): void }[] = [];
  let gone = false;
  void (async () => {
    for await (const line of readLines(connection.readable)) {
      const said = JSON.parse(line);
      if ("event" in said) events.push(said);
      else if ("return" in said) answers.shift()?.resolve(said.return);
      else if ("error" in said) answers.shift()?.reject(new Error(`The emulator says: ${said.error.desc}`));
    }
  })().catch(() => {}).finally(() => {
    gone = true;
    for (const { reject } of answers.splice(0)) reject(new Error("The emulator has ended"));
  });
  const ask = (execute: string, args?: Record<string, unknown>) =>
    new Promise((resolve, reject) => {
      if (gone) return reject(new Error("The emulator has ended"));
      answers.push({ resolve, reject });
      const line = `${JSON.stringify({ execute, ...(args !== undefined && { arguments: args }) })}\n`;
      writeAll(connection, new TextEncoder().encode(line)).catch(reject);
    });
  await ask("qmp_capabilities");
  return {
    events,
    ask,
    [Symbol.dispose]: () => {
      try {
        connection.close();
      } catch (error) {
        // Closed by the reader's end.
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    },
  };
}

export async function writeAll(to: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await to.write(bytes.subarray(done));
}
