/** Configuration files that may be missing. */

/**
 * Reads something below another root, which is there for that long: undefined where there is none. The root's path has no slash at
 * its end.
 */
export type OtherRoot = <T>(read: (root: string) => Promise<T>) => Promise<T | undefined>;

/** Undefined where there is no such file; `denied` is called where it may not be read. */
export async function readOptional(path: string, denied?: () => void): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    if (denied === undefined || !(thrown instanceof Deno.errors.PermissionDenied)) throw thrown;
    denied();
    return undefined;
  }
}

/** Names in a directory, sorted; none where it does not exist or may not be read. */
export async function listOptional(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(path)) if (!isDirectory) names.push(name);
  } catch (thrown) {
    if (!isMissing(thrown) && !(thrown instanceof Deno.errors.PermissionDenied)) throw thrown;
  }
  return names.sort();
}

export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (thrown) {
    if (isMissing(thrown) || thrown instanceof Deno.errors.PermissionDenied) return false;
    throw thrown;
  }
}

function isMissing(thrown: unknown): boolean {
  // A link to a directory among files (Kubernetes mounts have one, "..data") is no file.
  return thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory ||
    thrown instanceof Deno.errors.IsADirectory;
}
