/** Which image of an OCI layout is meant: image-spec 1.1, image-layout.md, "index.json file". */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import type { Descriptor, ImageIndex } from "../formats/manifest.ts";

const REF_NAME = "org.opencontainers.image.ref.name";

export interface Wanted {
  /** As people name the image, for messages. */
  name: string;
  what: "layout" | "archive";
  tag?: string;
  /** The image's place, from 0, in place of a tag. */
  position?: number;
  /** How an image with that tag is named. */
  form(tag: string): string;
}

/** Throws `IMAGE_NOT_FOUND` where there is no such image, or more than one. */
export function chooseImage({ manifests }: ImageIndex, { name, what, tag, position, form }: Wanted): Descriptor {
  const found = position !== undefined
    ? manifests.slice(position, position + 1)
    : tag === undefined
    ? manifests
    : manifests.filter((m) => m.annotations?.[REF_NAME] === tag);
  const [first] = found;
  if (found.length === 1 && first !== undefined) return first;
  const tags = manifests.flatMap((m) => m.annotations?.[REF_NAME] ?? []).map((one) => displayText(one));
  const untagged = `Its images have no tags: make the ${what} again with one image, or with tags.`;
  if (found.length === 0) {
    const none = manifests.length === 0 ? `The ${what} is empty.` : untagged;
    throw new CosError("IMAGE_NOT_FOUND", `Cannot find ${name}: the ${what} has no such image.`, {
      hint: tags.length === 0 ? none : `It has: ${tags.join(", ")}.`,
    });
  }
  const several = tag === undefined
    ? `Name one by its tag: ${tags.map(form).join(", ")}.`
    : `Several of its images have this tag: make the ${what} again.`;
  throw new CosError("IMAGE_NOT_FOUND", `Cannot choose among the ${found.length} images of ${name}.`, {
    hint: tags.length === 0 ? untagged : several,
  });
}

/** `cosign save` marks what it puts beside an image by this annotation, and gives it no tag. */
const KIND = "kind", COSIGN_SIGNATURES = "dev.cosignproject.cosign/sigs";

/** What has the tag; for cosign's signatures also what `cosign save` has marked as such. */
export function findTagged({ manifests }: ImageIndex, tag: string): Descriptor | undefined {
  const named = manifests.find((m) => m.annotations?.[REF_NAME] === tag);
  return named ??
    (tag.endsWith(".sig") ? manifests.find((m) => m.annotations?.[KIND] === COSIGN_SIGNATURES) : undefined);
}
