import { CosError } from "../base/errors.ts";

/** For what no layer may hold, and what the unpacking rules refuse. */
export function broken(what: string, cause?: unknown): CosError {
  return new CosError("BROKEN_LAYER", `Cannot unpack the layer: ${what}.`, {
    hint: "The image was built or stored wrongly: build it again, or ask whoever publishes it.",
    cause,
  });
}
