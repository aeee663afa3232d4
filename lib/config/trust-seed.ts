/** What an image brings for first contact with content trust: of the system that runs, never of the one that is being installed. */
import { CosError } from "../base/errors.ts";
import { parseKnownTrust, type Remembered } from "../formats/known-trust.ts";
import { readTrusted } from "./trusted-file.ts";

/**
 * Reads `/usr/share/cos/trust/ID.json`, of the form that `cOS/trust` has.
 * @param root where the machine's own `/` is, without a slash at its end. Throws `CONFIGURATION`.
 */
export function trustSeed(root: string, id: string, gun: string): Remembered {
  const path = `${root}/usr/share/cos/trust/${id}.json`, bytes = readTrusted(path, unusable);
  if (bytes === undefined) return {};
  const known = parseKnownTrust(bytes, gun);
  return known === undefined ? { damaged: path } : { known };
}

function unusable(path: string, why: string, cause?: unknown): CosError {
  return new CosError("CONFIGURATION", `Cannot use what this system brings for content trust, ${path}: ${why}.`, {
    hint: "It is a file of the system's image: mend the image, or mount another file over it.",
    cause,
  });
}
