/** Which image an older command line means: its own word, else what the settings say. */
import type { ImageReference } from "../formats/reference.ts";
import { imageOfUri, imageOfWord } from "../formats/legacy-image.ts";
import type { Setting, Settings } from "./settings.ts";

export interface ImageRequest {
  /** `word`: the first generation's, or UPGRADE_IMAGE's form. `uri`: the second's. `directory`: a path. */
  word?: { kind: "word" | "uri" | "directory"; text: string };
  /** The recovery system is meant. */
  recovery: boolean;
}

/** Throws `INVALID_REFERENCE`. */
export function chooseImage(settings: Settings, { word, recovery }: ImageRequest): ImageReference {
  const channel = settings.channel.value;
  switch (word?.kind) {
    case "directory":
      return { kind: "directory", path: word.text };
    case "uri":
      return imageOfUri(word.text);
    case "word":
      return imageOfWord(word.text, channel);
    case undefined: {
      const { image, recoveryImage } = settings;
      return imageOfSetting(recovery && recoveryImage.value !== "" ? recoveryImage : image, channel);
    }
  }
}

export function imageOfSetting({ value, key }: Setting<string>, channel: boolean): ImageReference {
  // The keys of the second generation hold its URIs.
  return /^(?:upgrade\.|reset\.|ELEMENTAL_|--)/.test(key) ? imageOfUri(value) : imageOfWord(value, channel);
}
