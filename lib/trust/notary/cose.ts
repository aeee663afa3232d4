/** Signatures as COSE_Sign1 (RFC 9052, 4.2; notaryproject/specifications, signature-envelope-cose.md). */
import * as z from "zod/mini";
import type { Bytes } from "../../base/bytes.ts";
import { FormatError } from "../../formats/format-error.ts";
import { MAX_CHAIN } from "../chain.ts";
import { shaped } from "../shape.ts";
import { COSE_ALGORITHMS } from "./algorithm.ts";
import { decodeCbor, encodeCbor, tagged } from "./cbor.ts";
import { type Envelope, headerSchema, NAME } from "./envelope.ts";

const TAG = { time: 1, sign1: 18 } as const;
/** Numbers of parameters: RFC 9052, 3.1, and RFC 9360, 2. */
const LABELS = new Map<unknown, string>([[1, NAME.algorithm], [2, NAME.critical], [3, NAME.contentType]]);
const CHAIN = 33;

/** Seconds since 1970. The last are of the year 9999. */
const time = z.pipe(
  z.pipe(z.unknown(), z.transform((value) => tagged(value, TAG.time))),
  z.pipe(z.int().check(z.nonnegative(), z.lt(253_402_300_800)), z.transform((seconds) => new Date(seconds * 1000))),
);
const header = headerSchema(time);
const bytes = z.pipe(z.instanceof(Uint8Array), z.transform((value): Bytes => new Uint8Array(value)));
const envelope = z.tuple([bytes, z.instanceof(Map<unknown, unknown>), bytes, bytes]);
const chain = z.array(bytes).check(z.minLength(1), z.maxLength(MAX_CHAIN));

/** Throws `FormatError`. */
export function parseCose(given: Uint8Array): Envelope {
  const content = tagged(decodeCbor(given, [TAG.time, TAG.sign1]), TAG.sign1);
  if (content === undefined) throw new FormatError("it is no COSE_Sign1 with its tag");
  const [signedHeader, unsigned, payload, signature] = shaped(envelope, content);
  const told = decodeCbor(signedHeader, [TAG.time]);
  if (!(told instanceof Map)) throw new FormatError("its signed header is no map");
  const twin = [...unsigned.keys()].find((label) => told.has(label) || LABELS.has(label));
  if (twin !== undefined) throw new FormatError("a parameter is in both of its headers, or in the unsigned one only");
  const timestamp = unsigned.get(NAME.timestamp);
  return {
    header: shaped(header, named(told)),
    signed: encodeCbor(["Signature1", signedHeader, new Uint8Array(), payload]),
    signature,
    payload,
    // It may stand in either header.
    certificates: shaped(chain, unsigned.get(CHAIN) ?? told.get(CHAIN)),
    timestamp: timestamp === undefined ? undefined : shaped(bytes, timestamp),
  };
}

/** The header's parameters by the names that they have in JSON. */
function named(parameters: Map<unknown, unknown>): Record<string, unknown> {
  const entries = [...parameters].map(([label, value]): [string, unknown] => {
    const name = nameOf(label);
    if (name === NAME.algorithm) return [name, COSE_ALGORITHMS.get(value) ?? `the number ${value}`];
    return [name, name === NAME.critical && Array.isArray(value) ? value.map(nameOf) : value];
  });
  return Object.fromEntries(entries);
}

function nameOf(label: unknown): string {
  // A text that another label stands for already would be a second one of it.
  if (typeof label === "string" && ![...LABELS.values()].includes(label)) return label;
  return LABELS.get(label) ?? `the label ${label}`;
}
