/** Notary Project signatures: when they were made, when they end, and what was revoked since. */
import assert from "node:assert/strict";
import { parseCertificate } from "../../lib/formats/x509.ts";
import { parseRevocationList } from "../../lib/trust/notary/revoked.ts";
import { STRICT } from "../../lib/trust/notary/trust-policy.ts";
import { verifyNotary } from "../../lib/trust/notary/verify.ts";
import { extensions, type Issued } from "../lab/signing/certificates.ts";
import { SIGNED_AT } from "../lab/signing/instance.ts";
import { jsonBytes, makeKey, sha256 } from "../lab/signing/keys.ts";
import { issue, LEAF, makeNotary, makeNotarySite, NAMESPACE, type NotaryRequest } from "../lab/signing/notary.ts";
import {
  answerTo,
  bothSay,
  CHAIN,
  GOOD,
  IMAGE,
  NOW,
  policyOf,
  SIGNER,
  SITE,
  TARGET,
  TIMED,
} from "../lab/signing/notary-case.ts";

const HOUR = 3_600_000, { root, intermediate } = SITE;

Deno.test("without a timestamp the certificates must be valid now, with one when it was made", async () => {
  const short = await issue("short", { issuer: intermediate, extensions: LEAF, notAfter: new Date(+SIGNED_AT + HOUR) });
  const request = { chain: [short, intermediate, root] as [Issued, ...Issued[]] },
    stamped = { ...request, stampedBy: SITE };
  const name = "the certificate of C=DE, ST=Bavaria, O=Lab\\, Inc., CN=short is not valid",
    start = "2025-11-20T12:00:00.000Z";
  const now =
    `${name} now, and no timestamp says that it signed earlier: expected ${start} to 2026-11-20T13:00:00.000Z, found ${NOW.toISOString()}`;
  await bothSay(now, request);
  // Nobody whom the policy trusts made it.
  await bothSay(now, stamped);
  await bothSay("trusted", request, GOOD, SIGNED_AT);
  await bothSay(
    /CN=lab release is not valid now, .* found 2025-11-20T11:59:59\.000Z$/,
    {},
    GOOD,
    new Date(+SIGNED_AT - 365 * 24 * HOUR - 1000),
  );
  await bothSay("trusted", stamped, TIMED);
  await bothSay("the signature has no timestamp, and the policy wants one", request, TIMED);
  const verdict = await verifyNotary(
    await makeNotary({ ...stamped, envelope: "cose", target: TARGET }),
    IMAGE,
    TIMED,
    NOW,
  );
  assert.equal(verdict.trusted && verdict.time, SIGNED_AT.toISOString());
  const lazy = { ...TIMED, verifyTimestamp: "afterCertExpiry" as const };
  await bothSay("trusted", request, lazy, SIGNED_AT);
  await bothSay("the signature has no timestamp, and the policy wants one", request, lazy);
  await bothSay("trusted", stamped, lazy);
  // The authority's clock may be off by a second, which must not matter.
  await bothSay("trusted", { ...stamped, stampedAt: new Date(+SIGNED_AT + HOUR - 1000) }, TIMED);
  const late = `${name} when it signed: expected ${start} to 2026-11-20T13:00:00.000Z, found 2026-11-20T13:00:01.000Z`;
  const last = { ...stamped, stampedAt: new Date(+SIGNED_AT + HOUR) }, stamp = { accuracy: undefined };
  await bothSay(late, last, TIMED);
  await bothSay("trusted", { ...last, stamp }, TIMED);
  // The baseline policy promises a second where the token is silent (RFC 3628, 5.2).
  await bothSay(late, { ...last, stamp: { ...stamp, policy: "0.4.0.2023.1.1" } }, TIMED);
});

Deno.test("timestamps are of this signature, by an authority that the policy trusts, and made for that", async () => {
  const foreign = await makeNotarySite(),
    another = await makeNotary({ envelope: "jws", chain: CHAIN, target: TARGET, stampedBy: SITE, at: NOW });
  await bothSay("a timestamp cannot be trusted: its signature is not its authority's", {
    stampedBy: { timestampAuthority: { ...SITE.timestampAuthority, key: await makeKey("p256") } },
  }, TIMED);
  await bothSay(/^a timestamp cannot be trusted: /, { stampedBy: foreign }, TIMED);
  const moved = JSON.parse(
    new TextDecoder().decode((await makeNotary({ envelope: "jws", chain: CHAIN, target: TARGET })).bytes),
  );
  moved.header[`${NAMESPACE}timestampSignature`] =
    JSON.parse(new TextDecoder().decode(another.bytes)).header[`${NAMESPACE}timestampSignature`];
  const layer = { mediaType: "application/jose+json", bytes: jsonBytes(moved) };
  assert.equal(await answerTo(layer, TIMED), "a timestamp was made over something other than the signature");
  const clock = await issue("clock", {
    issuer: SITE.timestampRoot,
    extensions: [extensions.usage(0, 2), extensions.purpose("1.3.6.1.5.5.7.3.8", true)],
  });
  await bothSay(
    "the signer's certificate (C=DE, ST=Bavaria, O=Lab\\, Inc., CN=clock) is for other uses too: expected digitalSignature alone, found keyEncipherment",
    { stampedBy: { timestampAuthority: clock } },
    TIMED,
  );
});

Deno.test("a signing authority vouches for the time, and no other authority speaks for it", async () => {
  const scheme = "notary.x509.signingAuthority", certificates = [parseCertificate(root.der)];
  const authority = policyOf(undefined, { store: { ca: [], signingAuthority: certificates, tsa: [] } });
  const short = await issue("short", { issuer: root, extensions: LEAF, notAfter: new Date(+SIGNED_AT + HOUR) });
  const request: Partial<NotaryRequest> = { scheme, chain: [short, root] };
  await bothSay("trusted", request, authority);
  const verdict = await verifyNotary(
    await makeNotary({ envelope: "jws", chain: CHAIN, scheme, target: TARGET }),
    IMAGE,
    authority,
    NOW,
  );
  assert.equal(verdict.trusted && verdict.time, SIGNED_AT.toISOString());
  await bothSay(/CN=short is not valid when it signed: expected .* found 2026-11-20T14:00:00.000Z$/, {
    ...request,
    at: new Date(+SIGNED_AT + 2 * HOUR),
  }, authority);
  const name = "C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab root";
  await bothSay(
    `no certificate of the signer's is trusted for the scheme ${scheme}: expected something in a store of the kind signingAuthority, found ${name}`,
    request,
    GOOD,
  );
  await bothSay(
    `no certificate of the signer's is trusted for the scheme notary.x509: expected something in a store of the kind ca, found ${name}`,
    {},
    authority,
  );
});

Deno.test("what the policy only logs is overlooked, and told", async () => {
  const actions = { ...STRICT, authenticTimestamp: "log", expiry: "log", revocation: "log" } as const;
  const short = await issue("short", {
    issuer: root,
    extensions: [...LEAF, extensions.revocationList()],
    notAfter: new Date(+SIGNED_AT + HOUR),
  });
  const layer = await makeNotary({ envelope: "cose", chain: [short, root], target: TARGET, expiry: SIGNED_AT });
  const verdict = await verifyNotary(layer, IMAGE, policyOf(root, { actions }), NOW);
  assert.ok(verdict.trusted);
  assert.deepEqual(verdict.overlooked?.map((one) => one.split(":")[0]), [
    "the signature has expired",
    "the certificate of C=DE, ST=Bavaria, O=Lab\\, Inc., CN=short is not valid now, and no timestamp says that it signed earlier",
    "only the network could tell whether the certificate of C=DE, ST=Bavaria, O=Lab\\, Inc., CN=short is revoked, and it is not asked",
  ]);
  const skipped = await verifyNotary(
    layer,
    IMAGE,
    policyOf(root, { actions: { ...actions, revocation: "skip" } }),
    NOW,
  );
  assert.equal(skipped.trusted && skipped.overlooked?.length, 2);
});

Deno.test("revoked certificates: by the operator's list, which also stands in for the network", async () => {
  const unknown = (name: string) =>
    `only the network could tell whether the certificate of C=DE, ST=Bavaria, O=Lab\\, Inc., CN=${name} is revoked, and it is not asked: expected a list of revoked certificates (revokedPath), found none`;
  const listed = await issue("listed", { issuer: root, extensions: [...LEAF, extensions.revocationList()] });
  const asked = await issue("asked", {
    issuer: root,
    extensions: [...LEAF, extensions.authorityAccess("1.3.6.1.5.5.7.48.1")],
  });
  const issuers = await issue("issuers", {
    issuer: root,
    extensions: [...LEAF, extensions.authorityAccess("1.3.6.1.5.5.7.48.2")],
  });
  await bothSay(unknown("listed"), { chain: [listed, root] });
  await bothSay(unknown("asked"), { chain: [asked, root] });
  await bothSay("trusted", { chain: [issuers, root] });
  const clock = await issue("clock", {
    issuer: SITE.timestampRoot,
    extensions: [
      extensions.usage(0),
      extensions.purpose("1.3.6.1.5.5.7.3.8", true),
      extensions.revocationList(),
    ],
  });
  await bothSay(unknown("clock"), { stampedBy: { timestampAuthority: clock } }, TIMED);
  const empty = policyOf(root, { revoked: parseRevocationList("# nothing yet\n") });
  await bothSay("trusted", { chain: [listed, root] }, empty);
  const log = { ...STRICT, authenticTimestamp: "log", expiry: "log", revocation: "log" } as const;
  for (
    const [certificate, name] of [[SIGNER, "release"], [intermediate, "intermediate"], [root, "root"], [
      SITE.timestampAuthority,
      "clock",
    ]] as const
  ) {
    const fingerprint = (await sha256(certificate.der)).toHex(), serial = certificate.serial.subarray(2).toHex();
    for (
      const [line, told] of [[`sha256:${fingerprint}`, `sha256:${fingerprint}`], [
        `serial=00${serial.toUpperCase()} # of ${name}`,
        `serial:${serial}`,
      ]] as const
    ) {
      const policy = { ...TIMED, actions: log, revoked: parseRevocationList(line) };
      await bothSay(
        `the certificate of C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab ${name} is revoked: the policy's list has ${told}`,
        { stampedBy: SITE },
        policy,
      );
    }
  }
});

Deno.test("lists of revoked certificates", () => {
  const fingerprint = "AB:".repeat(31) + "CD";
  const list = parseRevocationList(`\nSHA256 Fingerprint=${fingerprint}\nserial: 00:01:aB\r\n # none\nserial=0\n`);
  assert.deepEqual([...list.fingerprints], [`${"ab".repeat(31)}cd`]);
  assert.deepEqual([...list.serials], ["1ab", "0"]);
  for (const line of ["sha256:abcd", `sha1:${"a".repeat(40)}`, "1234", "serial:", "serial:xyz", "sha256:"]) {
    assert.throws(() => parseRevocationList(`serial:1\n${line}`), {
      message: `line 2 is neither sha256:HEX nor serial:HEX: ${line}`,
    });
  }
  assert.throws(() => parseRevocationList("\n".repeat(100_001)), /more than 100000 lines/);
});
