/** `/etc/cos/bootargs.cfg` of an image: a GRUB script that says which kernel to start, and how. It is read, never run. */

export interface BootArguments {
  kernel: string;
  initramfs: string;
  /** The last assignment; earlier ones are for other kinds of image. */
  kernelArguments: string;
}

/** Undefined for each of the three that the script does not set. */
export function parseBootArguments(text: string): Partial<BootArguments> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^\s*(?:set\s+)?(kernel|initramfs|kernelcmd)=(?:"([^"]*)"|'([^']*)'|(\S*))/.exec(line);
    if (match?.[1] !== undefined) values.set(match[1], match[2] ?? match[3] ?? match[4] ?? "");
  }
  return {
    kernel: values.get("kernel"),
    initramfs: values.get("initramfs"),
    kernelArguments: values.get("kernelcmd"),
  };
}
