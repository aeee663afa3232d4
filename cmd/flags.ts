/** Flags that several commands share, with the words of their help. */
import type { CommonFlags } from "./context.ts";

const text = (input: string) => input;

/** A flag that is said or not. */
export function word(brief: string) {
  return { kind: "boolean", optional: true, withNegated: false, brief } as const;
}

export const jsonFlag = word("Print JSON for programs instead of text for people");
export const debugFlag = word("Print causes and stack traces of errors");
export const stateFlag = {
  kind: "parsed",
  parse: text,
  optional: true,
  placeholder: "PLACE",
  brief:
    "State partition to work on: a block device, or the directory where it is mounted (found by its label otherwise)",
} as const;

export const commonFlags = { state: stateFlag, json: jsonFlag, debug: debugFlag } as const;

export interface ImageFlags extends CommonFlags {
  readonly noVerify?: boolean;
  readonly key?: string;
  readonly plainHttp?: boolean;
  readonly authFile?: string;
  readonly size?: number;
  readonly replaceLinks?: boolean;
  readonly strict?: boolean;
  readonly verbose?: boolean;
}

export const imageFlags = {
  noVerify: word("Install although nothing proves who made the image; the record and status say so for ever after"),
  key: {
    kind: "parsed",
    parse: text,
    optional: true,
    placeholder: "FILE",
    brief: "Public key (PEM) that must have signed the image, in place of the machine's policy for this run",
  },
  plainHttp: word("Speak to the registry without TLS (loopback addresses need no such word)"),
  authFile: {
    kind: "parsed",
    parse: text,
    optional: true,
    placeholder: "FILE",
    brief: "Logins for registries (auth.json, config.json or a pull secret), asked before the usual files",
  },
  size: {
    kind: "parsed",
    parse: mebibytes,
    optional: true,
    placeholder: "MIB",
    brief: "Least size of the new image's filesystem in MiB (3240; it takes only the space that its files need)",
  },
  strict: word("A hook that fails before the switch stops it; otherwise it is told, recorded and passed over"),
  verbose: word("Show what hooks print, as it comes"),
  replaceLinks: word("Let a layer put a directory over a link like /lib, though that hides what lies in /usr/lib"),
  ...commonFlags,
} as const;

export const imageArgument = {
  brief:
    "HOST/REPOSITORY[:TAG][@DIGEST] in a registry, oci:PATH[:TAG] for an OCI layout, oci-archive:PATH[:NAME] or docker-archive:PATH[:NAME:TAG] for one in a file, dir:PATH for a directory",
  parse: text,
  placeholder: "IMAGE",
} as const;

function mebibytes(input: string): number {
  const value = /^[0-9]{1,7}$/.test(input) ? Number(input) : 0;
  if (value < 16) throw new Error(`${JSON.stringify(input)} is no size in MiB (a whole number from 16)`);
  return value;
}

/** Systems that are kept in all: the two slots' at least. */
export function systems(input: string): number {
  const value = /^[0-9]{1,2}$/.test(input) ? Number(input) : 0;
  if (value < 2) throw new Error(`${JSON.stringify(input)} is no number of systems (2 to 99)`);
  return value;
}

export function seconds(input: string): number {
  const value = /^[0-9]{1,6}$/.test(input) ? Number(input) : 0;
  if (value < 1) throw new Error(`${JSON.stringify(input)} is no time in seconds (a whole number from 1)`);
  return value;
}

const UNITS = { s: 1, m: 60, h: 3600 };

/** Seconds; of at most a week. */
export function span(input: string): number {
  const [, digits, unit] = /^([0-9]{1,6})([smh])$/.exec(input) ?? [];
  const value = Number(digits ?? 0) * UNITS[unit as keyof typeof UNITS ?? "s"];
  if (!(value >= 1 && value <= 7 * 24 * 3600)) {
    throw new Error(`${JSON.stringify(input)} is no time of up to a week (like 90s, 30m or 2h)`);
  }
  return value;
}
