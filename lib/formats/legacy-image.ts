/** What the older tools take for an image: words of their settings and flags. Nothing here ever leads to a registry that is not named. */
import { CosError } from "../base/errors.ts";
import { type ImageReference, parseReference } from "./reference.ts";

/** `category/name`, or `category/name@version`, as the package manager of the channels writes them. */
const PACKAGE = /^[a-z0-9][a-z0-9._+-]*\/[A-Za-z0-9][A-Za-z0-9._+-]*$/;

/**
 * `UPGRADE_IMAGE` and the word of `cos-upgrade`. One with a host, a tag or a digest is an image, whatever is said of channels; the
 * forms of `cos` itself (`oci:PATH`, `dir:PATH`, …) are read too. Throws `INVALID_REFERENCE`.
 */
export function imageOfWord(text: string, channel: boolean): ImageReference {
  if (text.startsWith("channel:")) throw channelError(text, text.slice("channel:".length));
  if (channel && isPackage(text)) throw channelError(text, text);
  return parseReference(text);
}

/** `--system.uri` and the `uri` of YAML files: there `oci:` is another word for `docker:`. Throws `INVALID_REFERENCE`. */
export function imageOfUri(text: string): ImageReference {
  const [, scheme, rest = ""] = /^(docker|oci|dir|file|channel):(?:\/\/)?([^]*)$/.exec(text) ?? [];
  switch (scheme) {
    case "channel":
      throw channelError(text, rest);
    case "dir":
      return parseReference(`dir:${rest}`);
    case "file":
      throw new CosError(
        "INVALID_REFERENCE",
        `Cannot install ${JSON.stringify(text)}: that is the image of a filesystem.`,
        {
          hint: "Give the container image that it was made of, in a registry or as an archive: oci-archive:PATH",
        },
      );
    case "docker":
    case "oci":
      return registryOnly(text, rest);
    case undefined:
      return registryOnly(text, text);
  }
  throw new Error(`no reader for ${scheme}:`);
}

/** A word that must be in a registry: `oci:` and its like mean something else to `cos` itself. */
function registryOnly(whole: string, text: string): ImageReference {
  if (isPackage(text)) throw channelError(whole, text);
  const image = parseReference(text);
  if (image.kind !== "registry") {
    throw new CosError("INVALID_REFERENCE", `Cannot read ${JSON.stringify(whole)} as an image in a registry.`, {
      hint: "Give HOST/REPOSITORY:TAG; for a layout or an archive use: cos upgrade",
    });
  }
  return image;
}

/** A bare `a/b`: docker would take it for a repository of Docker Hub, the older tools for a package. */
function isPackage(text: string): boolean {
  const host = text.split("/")[0] ?? "";
  return PACKAGE.test(text) && !/[.:]/.test(host) && host !== "localhost";
}

function channelError(whole: string, name: string): CosError {
  const [category = "", rest = ""] = name.split("/");
  const tag = rest === "" ? "" : ` The same package was published as …/releases-FLAVOR:${rest}-${category}-VERSION.`;
  return new CosError(
    "INVALID_REFERENCE",
    `Cannot upgrade to ${
      JSON.stringify(whole)
    }: that names a package of a channel, and channels are not read any more.`,
    {
      hint: `Name an image, in /etc/cos/config or on the command line: UPGRADE_IMAGE=HOST/REPOSITORY:TAG.${tag}`,
    },
  );
}
