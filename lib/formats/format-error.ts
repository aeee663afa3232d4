/** How the readers of this folder's binary and signed formats say that they were given something else. */

/** The message completes "Cannot use X: …": what is wrong with it, without a full stop, fit to be shown. */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

/** By its name: a part of the static file that is loaded late has this class a second time. */
export function isFormatError(thrown: unknown): thrown is FormatError {
  return thrown instanceof Error && thrown.name === "FormatError";
}
