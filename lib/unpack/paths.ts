/** Names of entries, cleaned; and the markers of image-spec 1.1, layer.md, "Whiteouts". */
import { type ByteString, displayName } from "../base/byte-string.ts";
import { broken } from "./errors.ts";

// Bounds of the kernel (PATH_MAX, NAME_MAX), and one of our own against trees that nothing could remove again.
const MAX_PATH = 4096;
const MAX_NAME = 255;
const MAX_DEPTH = 256;

/**
 * `./usr//bin/` and `/usr/bin` are `usr/bin`; the top is "". Throws `BROKEN_LAYER` for a path with `..` in it: no honest
 * archive has one, and every meaning that could be given to it has been an attack somewhere.
 */
export function cleanPath(name: ByteString): ByteString {
  if (name.length >= MAX_PATH) {
    throw broken(`a path is ${name.length} bytes long; at most ${MAX_PATH - 1} are possible`);
  }
  if (name.includes("\0")) throw broken(`the path ${quote(name)} holds a NUL byte`);
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw broken(`the path ${quote(name)} leads upwards`);
  if (parts.length > MAX_DEPTH) {
    throw broken(`a path is ${parts.length} directories deep; at most ${MAX_DEPTH} are allowed`);
  }
  const long = parts.find((part) => part.length > MAX_NAME);
  if (long !== undefined) throw broken(`a name is ${long.length} bytes long; at most ${MAX_NAME} are possible`);
  return parts.join("/");
}

/** Parent and last part of a clean path that is not the top. */
export function splitPath(path: ByteString): [parent: ByteString, name: ByteString] {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? ["", path] : [path.slice(0, slash), path.slice(slash + 1)];
}

export type Marker = { kind: "whiteout"; name: ByteString } | { kind: "opaque" } | { kind: "ignored" };

/** What the last part of a path says, where it is a marker and no file. Throws `BROKEN_LAYER` for one that names nothing. */
export function markerOf(name: ByteString): Marker | undefined {
  if (!name.startsWith(".wh.")) return undefined;
  if (name === ".wh..wh..opq") return { kind: "opaque" };
  // What aufs kept beside the files (`.wh..wh.plnk`, `.wh..wh.aufs`, …) was never meant for anybody else.
  if (name.startsWith(".wh..wh.")) return { kind: "ignored" };
  const hidden = name.slice(4);
  if (hidden === "" || hidden === "." || hidden === "..") throw broken(`the whiteout ${quote(name)} names nothing`);
  return { kind: "whiteout", name: hidden };
}

/**
 * The directory of aufs at the top that a path with this parent lies in: it goes when the layer is done, but hardlinks lead to
 * files in it. Throws `BROKEN_LAYER` for what lies in a whiteout: a name that is hidden and there at once.
 */
export function aufsDirectory(parent: ByteString): ByteString | undefined {
  if (!parent.includes(".wh.")) return undefined;
  const parts = parent.split("/"), [top = ""] = parts;
  if (top.startsWith(".wh..wh.")) return top;
  if (parts.some((part) => part.startsWith(".wh."))) {
    throw broken(`there are files below the whiteout ${quote(parent)}`);
  }
  return undefined;
}

function quote(name: ByteString): string {
  return JSON.stringify(displayName(name));
}
