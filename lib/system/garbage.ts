/**
 * The engine counts what buffers hold, but lets tens of megabytes of dead ones gather before it looks for them: with one stream
 * through two threads that was a third of the program's memory. A collection of the young ones takes well under a millisecond.
 */

/** Frees what the last buffers held. Does nothing where the engine was not started with `--expose-gc`. */
export function freeDeadBuffers(): void {
  (globalThis as { gc?: (options: { type: "minor" }) => void }).gc?.({ type: "minor" });
}

let trim: ((pad: bigint) => number) | undefined;

/**
 * Gives what the C library holds of freed memory back to the kernel. A decoder's window of some megabytes leaves gaps when it
 * goes, and the next one does not always fit into them: without this the program grows by ten megabytes a layer.
 */
export function giveBackMemory(): void {
  trim ??= Deno.dlopen("libc.so.6", { malloc_trim: { parameters: ["usize"], result: "i32" } }).symbols.malloc_trim;
  trim(0n);
}
