/**
 * Good Notary Project signatures with one thing in them changed: each must be refused, but for what nobody signs, which is listed here
 * by name. And damaged ones by the thousand: the answer is always a value.
 */
import assert from "node:assert/strict";
import type { Bytes } from "../../lib/base/bytes.ts";
import { isFormatError } from "../../lib/formats/format-error.ts";
import { parseIdentities } from "../../lib/trust/notary/identities.ts";
import { parseRevocationList } from "../../lib/trust/notary/revoked.ts";
import { parseTrustPolicy } from "../../lib/trust/notary/trust-policy.ts";
import { Random } from "../lab/random.ts";
import { mutationsOf } from "../lab/signing/mutations.ts";
import { ENVELOPE_KINDS, ENVELOPES, makeNotary } from "../lab/signing/notary.ts";
import { answerTo, CHAIN, GOOD, NOW, SITE, TARGET, TIMED } from "../lab/signing/notary-case.ts";
import { jsonBytes } from "../lab/signing/keys.ts";

const expiry = new Date(+NOW + 3_600_000), target = { ...TARGET, annotations: { build: "17" } };
const CASES = [
  { what: "without timestamp", request: { chain: CHAIN, target, expiry }, policy: GOOD, step: 2 },
  { what: "with timestamp", request: { chain: CHAIN, target, expiry, stampedBy: SITE }, policy: TIMED, step: 5 },
];

/** JWS with all that is text in its own form: changes are made to what is in it, and to its Base64 as it stands. */
function opened(bytes: Bytes): Record<string, unknown> {
  const { payload, protected: signed, signature, header } = JSON.parse(new TextDecoder().decode(bytes));
  const standard = (text: string) => Uint8Array.fromBase64(text, { alphabet: "base64url" }).toBase64();
  return { payload: standard(payload), protected: standard(signed), signature: standard(signature), header };
}

function closed(document: unknown): Bytes {
  const url = (text: unknown) =>
    typeof text === "string" ? text.replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_") : text;
  const { payload, protected: signed, signature, header } = document as Record<string, unknown>;
  const whole = { payload: url(payload), protected: url(signed), signature: url(signature), header };
  return jsonBytes(whole);
}

for (const { what, request, policy, step } of CASES) {
  Deno.test(`each change of a field is refused: JWS ${what}`, async () => {
    const { mediaType, bytes } = await makeNotary({ envelope: "jws", ...request }), document = opened(bytes);
    assert.equal(await answerTo({ mediaType, bytes: closed(document) }, policy), "trusted");
    // What made it is told by nobody who signs.
    const unsigned = ["header.io.cncf.notary.signingAgent"], passed: string[] = [], seen = new Set<string>();
    let refused = 0;
    for (const { name, value } of mutationsOf(document, 100)) {
      if (await answerTo({ mediaType, bytes: closed(value) }, policy) !== "trusted") refused++;
      else if (unsigned.some((field) => name.startsWith(field))) seen.add(unsigned[0] as string);
      else passed.push(name);
    }
    console.log(`JWS ${what}: ${refused} changes refused; fields that nothing signs: ${unsigned.length}`);
    assert.deepEqual(passed, []);
    assert.deepEqual([...seen], unsigned, "is signed after all");
  });

  Deno.test(`every part of the envelope counts: COSE ${what}`, async () => {
    const { mediaType, bytes } = await makeNotary({ envelope: "cose", ...request }), passed: number[] = [];
    let refused = 0;
    assert.equal(await answerTo({ mediaType, bytes }, policy), "trusted");
    // Nobody signs who made it, nor the names of parameters that mean nothing.
    const agent = ["io.cncf.notary.signingAgent", "lab/1.0"].map((text) => spanOf(bytes, text));
    for (let at = 0; at < bytes.length; at += step) {
      const changed = bytes.with(at, (bytes[at] ?? 0) ^ (1 << (at % 8)));
      if (await answerTo({ mediaType, bytes: changed }, policy) === "trusted") passed.push(at);
      else refused++;
    }
    const odd = passed.filter((at) => !agent.some(([from, to]) => from <= at && at < to));
    console.log(`COSE ${what}: ${refused} changed bytes refused, ${passed.length} of its agent's name not`);
    assert.deepEqual(odd, []);
    for (let length = 0; length < bytes.length; length += 7) {
      assert.notEqual(await answerTo({ mediaType, bytes: bytes.slice(0, length) }, policy), "trusted");
    }
    assert.match(
      await answerTo({ mediaType, bytes: new Uint8Array([...bytes, 0]) }, policy),
      /^the signature cannot be read: it is no CBOR/,
    );
  });
}

function spanOf(bytes: Bytes, text: string): [number, number] {
  const at = new TextDecoder("latin1").decode(bytes).indexOf(text);
  assert.ok(at > 0);
  // With the byte before it, or two, that says how long it is.
  return [at - 1, at + text.length];
}

Deno.test("whatever is damaged, the answer is a value", async () => {
  const random = new Random(20_261_127), counts = { refused: 0, accepted: 0 };
  const layers = [];
  for (const envelope of ENVELOPE_KINDS) {
    for (const { request, policy } of CASES) layers.push({ ...await makeNotary({ envelope, ...request }), policy });
  }
  for (let round = 0; round < 2000; round++) {
    const { mediaType, bytes, policy } = random.pick(layers);
    // One in ten is read by the other reader.
    const other = round % 10 === 0 ? random.pick(Object.values(ENVELOPES)) : mediaType;
    const damaged = random.mutate(bytes) as Bytes;
    counts[await answerTo({ mediaType: other, bytes: damaged }, policy) === "trusted" ? "accepted" : "refused"]++;
  }
  const statement = {
    name: "a",
    registryScopes: ["*"],
    signatureVerification: { level: "strict" },
    trustStores: ["ca:a"],
    trustedIdentities: ["*"],
  };
  const policyText = jsonBytes({ version: "1.0", trustPolicies: [statement] });
  const name = new TextEncoder().encode("x509.subject: C=DE, ST=Bavaria, O=Lab\\, Inc., CN=\\C3\\A9");
  for (let round = 0; round < 1000; round++) {
    assertReads(() => parseTrustPolicy(random.mutate(policyText)));
    assertReads(() => parseIdentities([new TextDecoder().decode(random.mutate(name))]));
    assertReads(() => parseRevocationList(new TextDecoder().decode(random.mutate(name))));
  }
  console.log(`damaged: ${counts.refused} refused, ${counts.accepted} accepted (what was damaged was not looked at)`);
  assert.ok(counts.refused > 1900, `${counts.refused}`);
});

function assertReads(read: () => unknown): void {
  try {
    read();
  } catch (thrown) {
    if (!isFormatError(thrown)) throw new Error("a reader's fault is a FormatError", { cause: thrown });
  }
}
