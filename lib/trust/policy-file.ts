/**
 * Policy files: containers-policy.json(5), with this program's own types of requirements where the file is its own. What is
 * unknown, twice there, or empty makes the whole file unusable: half a policy is another policy.
 */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { parseStrictJson } from "../formats/strict-json.ts";
import type { ImageReference } from "../formats/reference.ts";
import type { PolicyFiles, Requirement, RequirementKind } from "./requirement.ts";
import { REQUIREMENT_KINDS } from "./requirements/kinds.ts";
import { scopesOf, transportOf } from "./scope.ts";
import { shaped } from "./shape.ts";

/** Of a policy file. Bytes. */
const MAX_POLICY = 1024 * 1024;

interface Written {
  kind: RequirementKind;
  value: unknown;
  inner: readonly Written[];
}

/** Requirements within requirements. */
const MAX_DEPTH = 4;

export interface PolicyScope {
  /** As people read it: `docker registry.example.org/os`, `default`. */
  name: string;
  requirements: readonly Written[];
}

export interface PolicyFile {
  /** All scopes of the file, the default last. */
  scopes: readonly PolicyScope[];
  scopeOf(image: ImageReference): PolicyScope | undefined;
}

const list = z.array(z.unknown()).check(z.minLength(1), z.maxLength(100));
const file = z.strictObject({
  default: list,
  transports: z.optional(z.record(z.string(), z.record(z.string(), list))),
});

/** @param own the file is `/etc/cos/policy.json`, or one for this program alone. Throws `FormatError`. */
export function parsePolicy(bytes: Uint8Array, own: boolean): PolicyFile {
  const { default: fallback, transports = {} } = shaped(file, parseStrictJson(bytes, MAX_POLICY));
  const scopes = new Map<string, PolicyScope>();
  for (const [transport, entries] of Object.entries(transports)) {
    for (const [scope, values] of Object.entries(entries)) {
      refuseOddScope(transport, scope);
      const name = scope === "" ? transport : `${transport} ${scope}`;
      scopes.set(`${transport}\n${scope}`, { name, requirements: read(values, `${transport}."${scope}"`, own) });
    }
  }
  const last: PolicyScope = { name: "default", requirements: read(fallback, "default", own) };
  return {
    scopes: [...scopes.values(), last],
    scopeOf: (image) => {
      const transport = transportOf(image);
      const found = scopesOf(image).map((scope) => scopes.get(`${transport}\n${scope}`)).find((one) =>
        one !== undefined
      );
      // Nothing proves what a directory holds: it is only ever allowed by name.
      return found ?? (transport === "directory" ? undefined : last);
    },
  };
}

/** The requirements with their keys read. Throws `FormatError`, and what `files` throws. */
export async function prepareScope({ name, requirements }: PolicyScope, files: PolicyFiles): Promise<Requirement[]> {
  try {
    return await prepareAll(requirements, files);
  } catch (thrown) {
    if (!isFormatError(thrown)) throw thrown;
    throw new FormatError(`in the scope "${name}": ${thrown.message}`, { cause: thrown });
  }
}

async function prepareAll(written: readonly Written[], files: PolicyFiles): Promise<Requirement[]> {
  const ready: Requirement[] = [];
  for (const { kind, value, inner } of written) {
    ready.push(await kind.prepare(value, files, await prepareAll(inner, files)));
  }
  return ready;
}

function read(values: readonly unknown[], place: string, own: boolean, depth = 1): Written[] {
  return values.map((value, i) => {
    const at = `${displayText(place)}[${i}]`, type = (value as { type?: unknown } | null)?.type;
    const kind = REQUIREMENT_KINDS.find((one) => one.type === type);
    if (kind === undefined) {
      throw new FormatError(`${at} is of the unknown type ${displayText(JSON.stringify(type) ?? "(none)", 60)}`);
    }
    if (kind.own && !own) {
      throw new FormatError(`${at} is of the type "${kind.type}", which only /etc/cos/policy.json may use`);
    }
    const foreign = own ? undefined : kind.ownFields?.find((field) => Object.hasOwn(value as object, field));
    if (foreign !== undefined) throw new FormatError(`${at}: it has the unknown field "${foreign}"`);
    if (depth > MAX_DEPTH) throw new FormatError(`${at} is nested too deeply`);
    const shape = shapeOf(kind, value, at);
    return { kind, value: shape, inner: read(kind.inner?.(shape) ?? [], `${at}.requirements`, own, depth + 1) };
  });
}

function shapeOf({ schema }: RequirementKind, value: unknown, at: string): unknown {
  try {
    return shaped(schema, value);
  } catch (thrown) {
    if (!isFormatError(thrown)) throw thrown;
    throw new FormatError(`${at}: ${thrown.message}`, { cause: thrown });
  }
}

function refuseOddScope(transport: string, scope: string): void {
  if (scope === "") return;
  const odd = (why: string) => new FormatError(`the scope "${displayText(scope)}" of ${displayText(transport)} ${why}`);
  if (["oci", "oci-archive", "dir", "directory"].includes(transport)) {
    if (!scope.startsWith("/")) throw odd("is no absolute path");
    if (scope === "/") throw odd('is for everything: write ""');
    if (scope.includes("//") || /\/\.{1,2}(?:\/|$)/.test(scope) || scope.endsWith("/")) {
      throw odd("is no path in its plain form");
    }
  }
  if (transport === "docker-archive") throw odd('is of no use: there is only ""');
  if (
    transport === "docker" && (/^[a-z]+:\/\/|\s|\/$/.test(scope) || scope.includes("*") && !/^\*\.[^*/]+$/.test(scope))
  ) {
    throw odd("matches nothing: write HOST[/REPOSITORY[:TAG]] or *.DOMAIN");
  }
}
