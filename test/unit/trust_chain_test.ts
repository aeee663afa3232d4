/** Chains of certificates: what each link must allow, and that their number is bounded. */
import assert from "node:assert/strict";
import type { Bytes } from "../../lib/base/bytes.ts";
import { parseCertificate } from "../../lib/formats/x509.ts";
import { findPath, MAX_CHAIN, PURPOSE } from "../../lib/trust/chain.ts";
import { authorityFrom } from "../../lib/trust/trusted-root.ts";
import { type CertificateRequest, extensions, type Issued, makeCertificate, OID } from "../lab/signing/certificates.ts";
import { SIGNED_AT } from "../lab/signing/instance.ts";
import { makeKey } from "../lab/signing/keys.ts";

const DAY = 86_400_000, key = await makeKey("p256");
const CA = [extensions.ca(), extensions.usage(5)], LEAF = [extensions.usage(0), extensions.purpose(OID.codeSigning)];

function issue(
  commonName: string,
  issuer: Issued | undefined,
  all: Bytes[],
  more: Partial<CertificateRequest> = {},
): Promise<Issued> {
  const period = { notBefore: new Date(SIGNED_AT.getTime() - DAY), notAfter: new Date(SIGNED_AT.getTime() + DAY) };
  return makeCertificate({
    key,
    commonName,
    ...(issuer === undefined ? {} : { issuer }),
    ...period,
    extensions: all,
    ...more,
  });
}

/** The names on the path, or why there is none. */
async function pathOf(leaf: Issued, untrusted: Issued[], root: Issued, times = [SIGNED_AT]): Promise<number | string> {
  let reason = "";
  const authority = authorityFrom([parseCertificate(root.der)], { start: new Date(0) });
  const request = {
    leaf: parseCertificate(leaf.der),
    untrusted: untrusted.map(({ der }) => parseCertificate(der)),
    authority,
    times,
    purpose: PURPOSE.codeSigning,
  };
  return (await findPath(request, (why) => reason = why))?.length ?? reason;
}

const root = await issue("root", undefined, CA), middle = await issue("middle", root, CA);

Deno.test("a chain leads over its CAs, in whatever order they come", async () => {
  const low = await issue("low", middle, CA), leaf = await issue("leaf", low, LEAF);
  assert.equal(await pathOf(await issue("leaf", root, LEAF), [], root), 2);
  assert.equal(await pathOf(leaf, [middle, low], root), 4);
  assert.equal(await pathOf(leaf, [low, root, middle], root), 4);
  assert.equal(await pathOf(leaf, [low], root), "no trusted certificate issued it");
  assert.equal(
    await pathOf(leaf, [middle, low], await issue("root", undefined, CA, { key: await makeKey("p256") })),
    "a certificate's signature is not its issuer's",
  );
});

Deno.test("each link must be allowed to issue the one below", async () => {
  const none = "no trusted certificate issued it";
  const below = async (all: Bytes[]) => {
    const ca = await issue("ca", root, all);
    return await pathOf(await issue("leaf", ca, LEAF), [ca], root);
  };
  assert.equal(await below(CA), 3);
  assert.equal(await below([]), none);
  assert.equal(await below([extensions.usage(5)]), none);
  assert.equal(await below([extensions.ca(), extensions.usage(0)]), none);
  assert.equal(await below([...CA, extensions.purpose(OID.codeSigning)]), 3);
  assert.equal(await below([...CA, extensions.purpose(OID.timeStamping)]), none);
  // The leaf's own key issuing another leaf: CVE-2002-0862, and many since.
  const leaf = await issue("leaf", root, LEAF);
  assert.equal(await pathOf(await issue("second", leaf, LEAF), [leaf], root), none);
});

Deno.test("a CA may limit how many CAs follow", async () => {
  const limited = await issue("limited", root, [extensions.ca(0), extensions.usage(5)]),
    below = await issue("below", limited, CA);
  assert.equal(await pathOf(await issue("leaf", limited, LEAF), [limited], root), 3);
  assert.equal(
    await pathOf(await issue("leaf", below, LEAF), [limited, below], root),
    "no trusted certificate issued it",
  );
});

Deno.test("every certificate must be valid, at every time", async () => {
  const late = new Date(SIGNED_AT.getTime() + 2 * DAY), leaf = await issue("leaf", root, LEAF, { notAfter: late });
  const valid = "a certificate is valid from 2026-11-19T12:00:00.000Z to 2026-11-21T12:00:00.000Z";
  assert.equal(await pathOf(leaf, [], root, [SIGNED_AT, late]), `${valid}, not at 2026-11-22T12:00:00.000Z`);
  const past = await issue("past", root, CA, { notAfter: SIGNED_AT });
  assert.equal(await pathOf(await issue("leaf", past, LEAF), [past], root, [SIGNED_AT]), 3);
  const after = new Date(SIGNED_AT.getTime() + 1000);
  assert.match(
    String(await pathOf(await issue("leaf", past, LEAF), [past], root, [after])),
    /not at 2026-11-20T12:00:01.000Z$/,
  );
});

Deno.test("identifiers of keys tell CAs of one name apart", async () => {
  const [one, other] = [new Uint8Array([1]), new Uint8Array([2])];
  const ca = await issue("ca", root, [...CA, extensions.subjectKeyId(one)]);
  const leaf = (id: Uint8Array) => issue("leaf", ca, [...LEAF, extensions.authorityKeyId(id)]);
  assert.equal(await pathOf(await leaf(one), [ca], root), 3);
  assert.equal(await pathOf(await leaf(other), [ca], root), "no trusted certificate issued it");
});

Deno.test("chains have an end, and the search for one too", async () => {
  let last = root;
  const all: Issued[] = [];
  for (let i = 0; i < MAX_CHAIN; i++) all.push(last = await issue(`ca ${i}`, last, CA));
  assert.equal(await pathOf(await issue("leaf", all[MAX_CHAIN - 3], LEAF), all, root), MAX_CHAIN);
  assert.equal(
    await pathOf(await issue("leaf", all[MAX_CHAIN - 2], LEAF), all, root),
    "the chain of certificates is too long",
  );
  // Each of ten could have issued each other: without a bound ten factorial paths.
  const twins = await Promise.all(Array.from({ length: MAX_CHAIN - 1 }, () => issue("twin", undefined, CA)));
  const reason = await pathOf(await issue("leaf", twins[0], LEAF), twins, root);
  assert.equal(reason, "there are too many certificates of one name");
});
