/** Links by which this file is called under the names of older tools. */
import { CosError } from "../base/errors.ts";

/**
 * Links in the directory that lead to the program, relative so that they hold in a tree that is somebody's root later. Nothing is
 * made where one of the names is taken by something else. Returns the names that were not there. Throws `CONFIGURATION`.
 * @param program the path of the file that they lead to.
 */
export async function installLinks(directory: string, names: readonly string[], program: string): Promise<string[]> {
  const { relative } = await import("node:path"), place = realDirectory(directory);
  const missing = names.filter((name) => {
    const found = linkKind(`${place}/${name}`, program);
    if (found === "others") throw taken(`${directory}/${name}`);
    return found === "absent";
  });
  const target = relative(place, Deno.realPathSync(program));
  for (const name of missing) Deno.symlinkSync(target, `${place}/${name}`);
  return missing;
}

/** Takes away the links that lead to the program, and nothing else. Returns their names. Throws `CONFIGURATION`. */
export function removeLinks(directory: string, names: readonly string[], program: string): string[] {
  const place = realDirectory(directory);
  const own = names.filter((name) => linkKind(`${place}/${name}`, program) === "own");
  for (const name of own) Deno.removeSync(`${place}/${name}`);
  return own;
}

/** A link to the program, wherever that lies; or to a file of its name that is gone. */
function linkKind(path: string, program: string): "absent" | "own" | "others" {
  let target;
  try {
    if (!Deno.lstatSync(path).isSymlink) return "others";
    target = Deno.readLinkSync(path);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound) return "absent";
    throw thrown;
  }
  try {
    return Deno.realPathSync(path) === Deno.realPathSync(program) ? "own" : "others";
  } catch (thrown) {
    if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    return target.split("/").at(-1) === program.split("/").at(-1) ? "own" : "others";
  }
}

function realDirectory(directory: string): string {
  try {
    const path = Deno.realPathSync(directory);
    if (Deno.statSync(path).isDirectory) return path;
  } catch (thrown) {
    if (!(thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory)) throw thrown;
  }
  throw new CosError("CONFIGURATION", `Cannot make links in ${directory}: it is no directory.`, {
    hint: "Name one that is searched for programs, like /usr/sbin.",
  });
}

function taken(path: string): CosError {
  return new CosError("CONFIGURATION", `Cannot make the link ${path}: something else stands there.`, {
    hint: "Look at what it is; take it away with the package that it came from, or move it. Nothing was changed.",
  });
}
