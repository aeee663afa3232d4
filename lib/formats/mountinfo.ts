/** `/proc/self/mountinfo`: proc_pid_mountinfo(5). */

export interface Mount {
  /** `major:minor` of the filesystem. */
  device: string;
  /** The directory of the filesystem that is the mount's top. */
  root: string;
  mountPoint: string;
  readOnly: boolean;
  /** Options of the mount, as opposed to those of the filesystem. */
  options: string[];
  type: string;
  source: string;
  /** Options of the filesystem itself. */
  superOptions: string[];
}

/** Malformed lines are skipped: the kernel writes none. */
export function parseMountInfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split("\n")) {
    const fields = line.split(" "), dash = fields.indexOf("-");
    const [, , device, root, mountPoint, options] = fields;
    const [type, source, superOptions] = fields.slice(dash + 1);
    if (
      dash < 6 || device === undefined || root === undefined || mountPoint === undefined || options === undefined ||
      type === undefined || source === undefined || superOptions === undefined
    ) continue;
    mounts.push({
      device,
      root: unescape(root),
      mountPoint: unescape(mountPoint),
      readOnly: options.split(",").includes("ro"),
      options: options.split(","),
      type,
      source: unescape(source),
      superOptions: superOptions.split(","),
    });
  }
  return mounts;
}

/** Space, tab, newline and backslash stand as octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(parseInt(digits, 8)));
}
