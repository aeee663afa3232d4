/** The files of mirror configurations. One that may not be read is an error: it may say that a registry is blocked or moved. */
import { CosError } from "../base/errors.ts";
import { readOptional } from "./files.ts";

export interface ConfigurationFile {
  path: string;
  text: string;
}

/** Those of the files that exist. Throws `CONFIGURATION`. */
export async function readFiles(paths: readonly string[]): Promise<ConfigurationFile[]> {
  const files: ConfigurationFile[] = [];
  for (const path of paths) {
    const text = await readOptional(path, () => {
      throw unreadable(path, "it may not be read");
    });
    if (text !== undefined) files.push({ path, text });
  }
  return files;
}

export function unreadable(path: string, why: string): CosError {
  return new CosError("CONFIGURATION", `Cannot use ${path}: ${why}.`, {
    hint: "Run it as root, or see to the file: it may say that a registry is blocked or moved.",
  });
}
