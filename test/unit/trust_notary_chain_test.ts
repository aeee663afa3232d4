/** The certificates of Notary Project signatures: complete, in order, and each made for what it does. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { extensions, type Issued, OID } from "../lab/signing/certificates.ts";
import { makeKey } from "../lab/signing/keys.ts";
import { CA, issue, LEAF, makeNotary } from "../lab/signing/notary.ts";
import { answerFor, policyOf, SIGNER, SITE, TARGET } from "../lab/signing/notary-case.ts";
import { run } from "../lab/run.ts";

const { root, intermediate } = SITE, signer = SIGNER;
const name = (commonName: string) => `C=DE, ST=Bavaria, O=Lab\\, Inc., CN=${commonName}`;

function says(chain: readonly Issued[], anchor: Issued = root): Promise<string> {
  return answerFor({ envelope: "jws", chain: chain as [Issued, ...Issued[]] }, policyOf(anchor));
}

Deno.test("the chain is complete and in order, up to a root; any of its authorities may be the trusted one", async () => {
  assert.equal(await says([signer, intermediate, root]), "trusted");
  assert.equal(await says([signer, intermediate, root], intermediate), "trusted");
  const ends = "the chain of certificates ends before its root: expected a certificate of";
  assert.equal(await says([signer, intermediate]), `${ends} ${name("lab root")}, found none`);
  assert.equal(await says([signer]), `${ends} ${name("lab intermediate")}, found none`);
  const order = "the chain of certificates is not in order: expected a certificate of";
  assert.equal(
    await says([signer, root, intermediate]),
    `${order} ${name("lab intermediate")}, found ${name("lab root")}`,
  );
  assert.equal(
    await says([signer, intermediate, root, root]),
    `the chain of certificates has that of ${name("lab root")} twice`,
  );
  assert.equal(
    await says([signer, intermediate, root, SITE.timestampRoot]),
    `${order} ${name("lab root")}, found ${name("lab clock root")}`,
  );
  const stranger = await issue("stranger", { extensions: CA });
  assert.equal(
    await says([await issue("leaf", { issuer: stranger, extensions: LEAF }), stranger]),
    `no certificate of the signer's is trusted for the scheme notary.x509: expected ${name("lab root")}, found ${
      name("stranger")
    }`,
  );
  // Of the same name, with another key.
  const twin = await issue("lab root", { extensions: CA });
  assert.equal(
    await says([signer, intermediate, twin], twin),
    `the certificate of ${name("lab intermediate")} was not signed by the one behind it`,
  );
  const forged = { ...root, key: await makeKey("p256") };
  const below = await issue("leaf", { issuer: forged, extensions: LEAF });
  assert.equal(await says([below, root]), `the certificate of ${name("leaf")} was not signed by the one behind it`);
  const many = await answerFor(
    { envelope: "jws", chain: [signer, ...Array.from({ length: 10 }, () => root)] },
    policyOf(root),
  );
  assert.equal(many, 'the signature cannot be read: it is malformed at "header.x5c"');
});

Deno.test("a signer may be its own root where the policy has it, and is held to what a signer must be", async () => {
  const own = await issue("own", { extensions: LEAF });
  assert.equal(await says([own], own), "trusted");
  assert.match(await says([own]), /^no certificate of the signer's is trusted/);
  assert.match(await says([root], root), /^the signer's certificate \(.*CN=lab root\) is an authority's/);
});

Deno.test("each authority must be one by its certificate", async () => {
  const below = async (all: Parameters<typeof issue>[1]["extensions"]) => {
    const ca = await issue("ca", { issuer: root, extensions: all });
    return await says([await issue("leaf", { issuer: ca, extensions: LEAF }), ca, root]);
  };
  const none = `the authority ${
    name("ca")
  } is none by its certificate: expected basicConstraints, critical, with CA:TRUE, found another`;
  const mayNot = `the authority ${
    name("ca")
  } may not sign certificates: expected keyUsage, critical, with keyCertSign, found another`;
  assert.equal(await below(CA), "trusted");
  assert.equal(await below([extensions.usage(5)]), none);
  assert.equal(await below([extensions.ca(undefined, false), extensions.usage(5)]), none);
  assert.equal(await below([extensions.ca()]), mayNot);
  assert.equal(await below([extensions.ca(), extensions.usage(6)]), mayNot);
  assert.equal(await below([extensions.ca(), extensions.uncriticalUsage(5)]), mayNot);
  assert.match(
    await below([...CA, extensions.unknown("1.2.3", true)]),
    /^a certificate cannot be read: .*unknown critical extension 1\.2\.3$/,
  );
});

Deno.test("an authority may limit how many follow", async () => {
  const limited = await issue("limited", { issuer: root, extensions: [extensions.ca(0), extensions.usage(5)] });
  const low = await issue("low", { issuer: limited, extensions: CA });
  assert.equal(await says([await issue("leaf", { issuer: limited, extensions: LEAF }), limited, root]), "trusted");
  assert.equal(
    await says([await issue("leaf", { issuer: low, extensions: LEAF }), low, limited, root]),
    `the authority ${name("limited")} may have fewer authorities below it: expected at most 0, found 1`,
  );
});

Deno.test("the signer's certificate is for signatures on code, and for nothing else", async () => {
  const leaf = async (...all: Parameters<typeof issue>[1]["extensions"]) =>
    (await says([await issue("leaf", { issuer: root, extensions: all }), root])).replace(
      `the signer's certificate (${name("leaf")}) `,
      "",
    );
  const usage = extensions.usage(0), other = "is for other uses too: expected digitalSignature alone, found";
  assert.equal(await leaf(usage), "trusted");
  assert.equal(await leaf(extensions.usage(0, 1), extensions.purpose(OID.codeSigning)), "trusted");
  const not = "is not for signatures: expected keyUsage, critical, with digitalSignature, found another";
  assert.equal(await leaf(extensions.purpose(OID.codeSigning)), not);
  assert.equal(await leaf(extensions.uncriticalUsage(0)), not);
  assert.equal(await leaf(extensions.usage(1)), not);
  for (
    const [bit, word] of [
      "keyEncipherment",
      "dataEncipherment",
      "keyAgreement",
      "keyCertSign",
      "cRLSign",
      "encipherOnly",
      "decipherOnly",
    ].entries()
  ) {
    assert.equal(await leaf(extensions.usage(0, bit + 2)), `${other} ${word}`);
  }
  assert.equal(
    await leaf(extensions.ca(), usage),
    "is an authority's: expected basicConstraints without CA:TRUE, found CA:TRUE",
  );
  const purpose = "is for another purpose: expected codeSigning, found";
  for (
    const [id, word] of [
      ["2.5.29.37.0", "anyExtendedKeyUsage"],
      ["1.3.6.1.5.5.7.3.1", "serverAuth"],
      ["1.3.6.1.5.5.7.3.2", "clientAuth"],
      ["1.3.6.1.5.5.7.3.4", "emailProtection"],
      [OID.timeStamping, "timeStamping"],
    ] as const
  ) {
    assert.equal(await leaf(usage, extensions.purposes(OID.codeSigning, id)), `${purpose} ${word}`);
  }
  assert.equal(await leaf(usage, extensions.purpose("1.2.3.4")), `${purpose} 1.2.3.4`);
  assert.equal(await leaf(usage, extensions.purposes("1.2.3.4", OID.codeSigning)), "trusted");
});

Deno.test("OpenSSL takes the lab's chain and timestamp for good too", async () => {
  const directory = await Deno.makeTempDir({ prefix: "cos-test-" }), path = (file: string) => join(directory, file);
  try {
    const { bytes } = await makeNotary({
      envelope: "jws",
      chain: [signer, intermediate, root],
      target: TARGET,
      stampedBy: SITE,
    });
    const { header, signature } = JSON.parse(new TextDecoder().decode(bytes));
    for (const [file, issued] of Object.entries({ signer, intermediate, root, clock: SITE.timestampRoot })) {
      await Deno.writeTextFile(path(file), issued.pem);
    }
    await Deno.writeFile(path("token"), Uint8Array.fromBase64(header["io.cncf.notary.timestampSignature"]));
    await Deno.writeFile(path("signature"), Uint8Array.fromBase64(signature, { alphabet: "base64url" }));
    const at = ["-attime", "1795176000", "-x509_strict"];
    const chain = [
      "verify",
      ...at,
      "-purpose",
      "any",
      "-CAfile",
      path("root"),
      "-untrusted",
      path("intermediate"),
      path("signer"),
    ];
    assert.equal(await run("openssl", chain), `${path("signer")}: OK\n`);
    const stamp = [
      "ts",
      "-verify",
      "-attime",
      "1795176000",
      "-token_in",
      "-in",
      path("token"),
      "-data",
      path("signature"),
      "-CAfile",
      path("clock"),
    ];
    assert.match(await run("openssl", stamp), /Verification: OK/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
