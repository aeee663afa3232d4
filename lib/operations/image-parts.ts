/** `cos boot install --image`: what an image needs so that it is booted safely, written into its tree while it is built. */
import { CosError, messageOf } from "../base/errors.ts";
import type { Events } from "../base/events.ts";
import { IMAGE_PARTS, type ImagePart } from "../boot/image-parts.ts";
import { readTextFile } from "../machine/files.ts";

/** Units that are to be started, by the link that enables them. */
const WANTS = "etc/systemd/system/multi-user.target.wants", UNITS = "usr/lib/systemd/system";
/** How each kind of initramfs is known, and made anew. */
const GENERATORS = {
  "initramfs-tools": { mark: "usr/share/initramfs-tools", make: "update-initramfs -u" },
  "dracut": { mark: "usr/lib/dracut", make: "dracut --force --regenerate-all" },
} as const;

export interface ImagePartsChanged {
  /** Paths within the image. */
  written: string[];
  /** What is to be done afterwards. */
  next: string[];
}

/** @param remove takes away instead what this wrote. Throws `USAGE`, `SYSTEM_CALL`. */
export function installInImage(directory: string, remove: boolean, events: Events): ImagePartsChanged {
  const root = directory.replace(/\/+$/, ""), at = (path: string) => `${root}/${path}`, written: string[] = [];
  if (!exists(directory)) {
    throw new CosError("USAGE", `Cannot write into ${directory}: it does not exist.`, {
      hint: "Name the top directory of the image's tree; in a container build that is /.",
    });
  }
  const present = (["initramfs-tools", "dracut"] as const).filter((name) => exists(at(GENERATORS[name].mark)));
  try {
    for (const part of IMAGE_PARTS) {
      const wanted = part.needs === "all" || present.includes(part.needs);
      if (remove ? removePart(at(part.path), part) : wanted && writePart(at(part.path), part)) written.push(part.path);
    }
    for (const { path } of IMAGE_PARTS.filter(({ path }) => path.startsWith(UNITS))) {
      const name = path.slice(UNITS.length + 1), link = `${WANTS}/${name}`;
      if (remove ? removeLink(at(link), `/${path}`) : writeLink(at(link), `/${path}`)) written.push(link);
    }
  } catch (cause) {
    throw new CosError("SYSTEM_CALL", `Cannot change the image's tree in ${directory}: ${messageOf(cause)}.`, {
      hint: "Run it as the user that the tree belongs to, in most builds root.",
      cause,
    });
  }
  if (!remove) {
    if (!exists(at("usr/bin/cos"))) warn(events, "/usr/bin/cos is not in the image yet: units and initramfs start it");
    if (present.length === 0) {
      warn(events, "The image has neither dracut nor initramfs-tools: its initramfs must run cos boot root");
    }
  }
  return { written, next: written.length === 0 ? [] : present.map((name) => GENERATORS[name].make) };
}

function warn(events: Events, text: string): void {
  events({ kind: "warning", text: `${text}.` });
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return false;
    throw thrown;
  }
}

function writePart(path: string, { text, mode }: ImagePart): boolean {
  if (readTextFile(path) === text) return false;
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, mode);
  return true;
}

/** What somebody has changed is not ours any more. */
function removePart(path: string, { text }: ImagePart): boolean {
  if (readTextFile(path) !== text) return false;
  Deno.removeSync(path);
  return true;
}

function linkTarget(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch (thrown) {
    if (thrown instanceof Deno.errors.NotFound || thrown instanceof Deno.errors.NotADirectory) return undefined;
    throw thrown;
  }
}

function writeLink(path: string, target: string): boolean {
  if (linkTarget(path) !== undefined) return false;
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.symlinkSync(target, path);
  return true;
}

function removeLink(path: string, target: string): boolean {
  if (linkTarget(path) !== target) return false;
  Deno.removeSync(path);
  return true;
}
