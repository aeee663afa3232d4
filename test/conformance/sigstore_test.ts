/**
 * The Sigstore project's conformance suite (sigstore/sigstore-conformance, `test/assets/bundle-verify`): each folder is a bundle
 * that a verifier must accept, or must refuse where the name ends in `_fail`. The files are not this project's, so they lie beside
 * the checkout; where they are not there, every case counts as skipped.
 */
import assert from "node:assert/strict";
import { parseDigest } from "../../lib/base/digest.ts";
import { isFormatError } from "../../lib/formats/format-error.ts";
import { parsePublicKey } from "../../lib/trust/keys.ts";
import { type BundlePolicy, type Subject, verifyBundle } from "../../lib/trust/sigstore-bundle.ts";
import { parseTrustedRoot, type TrustedRoot } from "../../lib/trust/trusted-root.ts";
import type { Verdict } from "../../lib/trust/verdict.ts";
import { jsonBytes } from "../lab/signing/keys.ts";

const SUITE = new URL("../../../shared/vectors/sigstore-conformance/bundle-verify/", import.meta.url).pathname;
/** The suite as its repository stood in November 2026; a folder that vanishes must not go unnoticed. */
const CASES = 70;

const IDENTITY =
  "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER = "https://token.actions.githubusercontent.com";

/** What the statements of the suite say; this program's own default is another one. */
const PREDICATES = [
  "https://slsa.dev/provenance/v0.2",
  "https://slsa.dev/provenance/v1",
  "https://cosign.sigstore.dev/attestation/v1",
];

async function optional(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return await Deno.readFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
}

async function text(path: string): Promise<string | undefined> {
  const bytes = await optional(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes).trim();
}

/**
 * The public instance's root. The suite leaves it to the verifier to have one; one case has a copy in which the first log's key
 * ends early, which is undone here.
 */
async function publicInstance(): Promise<Uint8Array> {
  const root = JSON.parse(await Deno.readTextFile(`${SUITE}trust-root-tlog-validity-end-inclusive/trusted_root.json`));
  delete root.tlogs[0].publicKey.validFor.end;
  return jsonBytes(root);
}

async function verify(name: string): Promise<Verdict> {
  try {
    return await verified(name);
  } catch (thrown) {
    // Of a root or a key, which the operator hands over, and which is not part of the verdict.
    if (isFormatError(thrown)) return { trusted: false, reason: `whom to trust: ${thrown.message}` };
    throw thrown;
  }
}

async function verified(name: string): Promise<Verdict> {
  const directory = `${SUITE}${name}/`;
  const bytes = await optional(`${directory}artifact`) ?? await Deno.readFile(`${SUITE}a.txt`);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  const digest = parseDigest(`sha256:${hash}`);
  assert.ok(digest);
  const subject: Subject = { digest, bytes };
  const own = await optional(`${directory}trusted_root.json`), pem = await text(`${directory}key.pub`);
  const root: TrustedRoot = await parseTrustedRoot(own ?? await publicInstance());
  const signer: BundlePolicy["signer"] = pem === undefined
    ? {
      root,
      identity: {
        san: await text(`${directory}identity`) ?? IDENTITY,
        issuer: await text(`${directory}issuer`) ?? ISSUER,
      },
    }
    : { key: await parsePublicKey(pem), ...(own === undefined ? {} : { root }) };
  return await verifyBundle(await Deno.readFile(`${directory}bundle.sigstore.json`), subject, {
    signer,
    predicateTypes: PREDICATES,
  });
}

const present = await Deno.stat(SUITE).then(() => true, () => false);
const names = present
  ? [...Deno.readDirSync(SUITE)].filter((entry) => entry.isDirectory).map(({ name }) => name).sort()
  : [];

for (const name of names) {
  Deno.test(`sigstore conformance: ${name}`, async () => {
    const verdict = await verify(name);
    assert.equal(verdict.trusted, !name.endsWith("_fail"), verdict.trusted ? "accepted" : verdict.reason);
  });
}

if (present) {
  Deno.test("the conformance suite is whole", () => assert.equal(names.length, CASES));
} else {
  for (let i = 1; i <= CASES; i++) {
    Deno.test.ignore(`sigstore conformance: case ${i} of ${CASES} (the suite is not here)`, () => {});
  }
}
