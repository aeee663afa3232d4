/**
 * The command lines of the first generation's shell scripts. Flags are said or not; the first other word is the image or
 * directory and ends the reading; one more word behind it is passed over, as the scripts did.
 */
import type { ImageRequest } from "../../lib/config/image-choice.ts";
import { type Parsed, wrongUse } from "./request.ts";

type Effect = "setting" | "directory" | "force";

interface Grammar {
  flags: Readonly<Record<string, Effect>>;
  image: boolean;
  usage: string;
}

export const OLDER = {
  "cos-upgrade": {
    flags: {
      "--docker-image": "setting",
      "--directory": "directory",
      "--recovery": "setting",
      "--no-verify": "setting",
      "--no-cosign": "setting",
      "--strict": "setting",
    },
    image: true,
    usage:
      "Usage: cos-upgrade [--docker-image | --directory] [--recovery] [--no-verify] [--no-cosign] [--strict] [IMAGE]\n",
  },
  "cos-deploy": {
    flags: {
      "--docker-image": "setting",
      "--no-verify": "setting",
      "--no-cosign": "setting",
      "--strict": "setting",
      "--force": "force",
    },
    image: true,
    usage: "Usage: cos-deploy [--docker-image] [--no-verify] [--no-cosign] [--strict] [--force] [IMAGE]\n",
  },
  "cos-reset": { flags: {}, image: false, usage: "Usage: cos-reset\n" },
  "cos-rebrand": { flags: {}, image: false, usage: "Usage: cos-rebrand\n" },
} satisfies Record<string, Grammar>;

/** Throws `USAGE`. */
export function parseOlder(tool: keyof typeof OLDER, words: readonly string[]): Parsed {
  const { flags, image, usage }: Grammar = OLDER[tool], said = new Set<string>();
  let text: string | undefined;
  for (const [i, word] of words.entries()) {
    if (word === "--help" || word === "-h") return { generation: 1, usage };
    if (Object.hasOwn(flags, word)) {
      said.add(word);
      continue;
    }
    if (!image || word.startsWith("-") || word === "") {
      throw wrongUse(tool, `${JSON.stringify(word)} is not known`, usage);
    }
    if (words.length - i > 2) throw wrongUse(tool, "there are too many words", usage);
    text = word;
    break;
  }
  const has = (effect: Effect) => [...said].some((flag) => flags[flag] === effect);
  if (has("directory") && said.has("--docker-image")) {
    throw wrongUse(tool, "--docker-image and --directory exclude each other", usage);
  }
  if (has("directory") && text === undefined) throw wrongUse(tool, "--directory is said, and no directory", usage);
  const statements = [...said].filter((flag) => flags[flag] !== "force");
  const word: ImageRequest["word"] = text === undefined
    ? undefined
    : { kind: has("directory") ? "directory" : "word", text };
  return {
    generation: 1,
    statements: statements.map((key) => ({ key, value: "true" })),
    ...word !== undefined && { word },
    ...has("force") && { force: true },
    warnings: [],
  };
}
