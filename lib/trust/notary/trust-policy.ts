/** Notation's own policy file, trustpolicy.oci.json or trustpolicy.json, version 1.0 (trust-store-trust-policy.md, "Trust Policy"). */
import * as z from "zod/mini";
import { displayText } from "../../base/byte-string.ts";
import { FormatError } from "../../formats/format-error.ts";
import { type ImageReference, isRepository } from "../../formats/reference.ts";
import { parseShape } from "../shape.ts";

const MAX_TRUST_POLICY = 1024 * 1024;

/** What becomes of a fault: it refuses the image, is noted in the record, or is not looked for. */
export type Action = "enforce" | "log" | "skip";
export interface Actions {
  authenticity: Action;
  authenticTimestamp: Action;
  expiry: Action;
  revocation: Action;
}

const LEVELS = {
  strict: { authenticity: "enforce", authenticTimestamp: "enforce", expiry: "enforce", revocation: "enforce" },
  permissive: { authenticity: "enforce", authenticTimestamp: "log", expiry: "log", revocation: "log" },
  audit: { authenticity: "log", authenticTimestamp: "log", expiry: "log", revocation: "log" },
  skip: { authenticity: "skip", authenticTimestamp: "skip", expiry: "skip", revocation: "skip" },
} as const satisfies Record<string, Actions>;

export const STRICT: Actions = LEVELS.strict;

const action = z.optional(z.enum(["enforce", "log"]));
const schema = z.strictObject({
  version: z.literal("1.0"),
  trustPolicies: z.array(z.strictObject({
    name: z.string().check(z.minLength(1)),
    registryScopes: z.array(z.string()).check(z.minLength(1), z.maxLength(1000)),
    signatureVerification: z.strictObject({
      level: z.enum(["strict", "permissive", "audit", "skip"]),
      override: z.optional(z.strictObject({
        authenticity: action,
        authenticTimestamp: action,
        expiry: action,
        revocation: z.optional(z.enum(["enforce", "log", "skip"])),
      })),
      verifyTimestamp: z.optional(z.enum(["always", "afterCertExpiry"])),
    }),
    trustStores: z._default(z.array(z.string()).check(z.maxLength(100)), []),
    trustedIdentities: z._default(z.array(z.string()).check(z.maxLength(100)), []),
  })).check(z.minLength(1), z.maxLength(1000)),
});

export interface Statement {
  name: string;
  scopes: readonly string[];
  level: keyof typeof LEVELS;
  actions: Actions;
  verifyTimestamp: "always" | "afterCertExpiry";
  trustStores: readonly string[];
  trustedIdentities: readonly string[];
}

/** Throws `FormatError`. */
export function parseTrustPolicy(bytes: Uint8Array): Statement[] {
  const { trustPolicies } = parseShape(schema, bytes, MAX_TRUST_POLICY);
  const statements: Statement[] = [];
  for (const { name, registryScopes: scopes, signatureVerification, trustStores, trustedIdentities } of trustPolicies) {
    const { level, override, verifyTimestamp = "always" } = signatureVerification;
    const actions = { ...LEVELS[level], ...override };
    const statement = { name, scopes, level, actions, verifyTimestamp, trustStores, trustedIdentities };
    const fault = faultOf(statement, override !== undefined, statements);
    if (fault !== undefined) throw new FormatError(`its policy "${displayText(name, 100)}" ${fault}`);
    statements.push(statement);
  }
  return statements;
}

function faultOf(statement: Statement, overridden: boolean, before: readonly Statement[]): string | undefined {
  const { name, scopes, level, trustStores, trustedIdentities } = statement;
  if (before.some((other) => other.name === name)) return "is there twice";
  if (scopes.length > 1 && scopes.includes("*")) return 'has the scope "*" beside others';
  for (const [i, scope] of scopes.entries()) {
    const [, host, repository = ""] = /^([A-Za-z0-9.:[\]-]+)\/(.+)$/.exec(scope) ?? [];
    if (scope !== "*" && (host === undefined || !isRepository(repository))) {
      return `has the scope "${displayText(scope, 100)}", which is no HOST/REPOSITORY`;
    }
    if (scopes.indexOf(scope) !== i || before.some((other) => other.scopes.includes(scope))) {
      return `has the scope "${scope}", which is there already`;
    }
  }
  if (level !== "skip") {
    return trustStores.length === 0 || trustedIdentities.length === 0
      ? "names no trustStores or no trustedIdentities"
      : undefined;
  }
  if (scopes.includes("*")) return 'skips verification of everything ("*")';
  if (overridden) return 'overrides parts of the level "skip"';
  return trustStores.length > 0 || trustedIdentities.length > 0
    ? "skips verification and names whom to trust"
    : undefined;
}

/** The one that counts for the image: of its repository by name, else the global one. Only a registry's has a repository. */
export function statementFor<T extends Pick<Statement, "scopes">>(
  statements: readonly T[],
  image: ImageReference,
): T | undefined {
  const repository = image.kind === "registry" ? `${image.host}/${image.repository}` : undefined;
  return statements.find(({ scopes }) => repository !== undefined && scopes.includes(repository)) ??
    statements.find(({ scopes }) => scopes.includes("*"));
}
