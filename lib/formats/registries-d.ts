/**
 * `registries.d` (containers-registries.d(5)): whether signatures are looked for beside the images of a scope. Where each
 * program looks is of no use here, except for that one word.
 */
import * as z from "zod/mini";
import { checked, malformed } from "./configuration.ts";
import { parseTypedYaml } from "./yaml.ts";

const scope = z.looseObject({ "use-sigstore-attachments": z.optional(z.boolean()) });
const file = z.looseObject({
  "default-docker": z.optional(z.nullable(scope)),
  docker: z.optional(z.nullable(z.record(z.string(), z.nullable(scope)))),
});

export interface SignaturePlaces {
  /** By scope; "" is the default. False where nothing says so. */
  attachments: ReadonlyMap<string, boolean>;
}

/** Several files are one configuration. Throws `CONFIGURATION`, also for a scope that two of them define. */
export function parseRegistriesD(files: readonly { path: string; text: string }[]): SignaturePlaces {
  const attachments = new Map<string, boolean>(), definedIn = new Map<string, string>();
  const define = (name: string, value: z.infer<typeof scope> | null, path: string) => {
    const before = definedIn.get(name);
    if (before !== undefined) {
      const what = name === "" ? "the default" : `"${name}"`;
      throw malformed(path, `${what} is defined here and in ${before}`);
    }
    definedIn.set(name, path);
    attachments.set(name, value?.["use-sigstore-attachments"] === true);
  };
  for (const { path, text } of files) {
    const value = checked(file, parseTypedYaml(text, path), path);
    if (value["default-docker"] !== undefined) define("", value["default-docker"], path);
    for (const [name, entry] of Object.entries(value.docker ?? {})) define(name, entry, path);
  }
  return { attachments };
}
