/** Keys and their signatures, timestamps and chains: with OpenSSL as the other side, both ways. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { encodeDer, TAG } from "../../lib/formats/der.ts";
import { parseCertificate } from "../../lib/formats/x509.ts";
import { pemBlocks } from "../../lib/formats/pem.ts";
import { type Hash, parsePublicKey, verifySignature } from "../../lib/trust/keys.ts";
import { tokenOfResponse, verifyTimestamp } from "../../lib/trust/timestamp.ts";
import { authorityFrom } from "../../lib/trust/trusted-root.ts";
import { run, runBytes } from "../lab/run.ts";
import * as der from "../lab/signing/der.ts";
import { makeInstance, makeSigner, SIGNED_AT } from "../lab/signing/instance.ts";
import { KEY_KINDS, type KeyKind, makeKey, pem, sha256, sign } from "../lab/signing/keys.ts";
import { makeTimestamp } from "../lab/signing/timestamps.ts";

const CONTENT = new TextEncoder().encode("what is signed\n");

/** A directory with the files, for a program that wants files. */
async function withFiles<T>(
  files: Record<string, Uint8Array | string>,
  use: (path: (name: string) => string) => Promise<T>,
): Promise<T> {
  const directory = await Deno.makeTempDir();
  try {
    for (const [name, content] of Object.entries(files)) {
      await Deno.writeFile(
        join(directory, name),
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      );
    }
    return await use((name) => join(directory, name));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const GENERATE: Record<KeyKind, string[]> = {
  p256: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
  p384: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
  p521: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
  ed25519: ["-algorithm", "ed25519"],
  rsa2048: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
  rsa3072: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
  rsa4096: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
};

/** The hashes with which signers use a kind of key. */
function hashesOf(kind: KeyKind): Hash[] {
  return kind === "p384" ? ["SHA-384", "SHA-256"] : kind === "p521" ? ["SHA-512", "SHA-256"] : ["SHA-256"];
}

for (const kind of KEY_KINDS) {
  Deno.test(`OpenSSL's signatures by keys of the kind ${kind}`, async () => {
    await withFiles({ content: CONTENT }, async (path) => {
      await run("openssl", ["genpkey", ...GENERATE[kind], "-out", path("key")]);
      const key = await parsePublicKey(await run("openssl", ["pkey", "-in", path("key"), "-pubout"]));
      const spki = await runBytes("openssl", ["pkey", "-in", path("key"), "-pubout", "-outform", "DER"]);
      assert.equal(key.fingerprint, `sha256:${(await sha256(spki)).toHex()}`);
      const signatures = kind === "ed25519"
        ? [await runBytes("openssl", ["pkeyutl", "-sign", "-rawin", "-inkey", path("key"), "-in", path("content")])]
        : await Promise.all(
          hashesOf(kind).map((hash) =>
            runBytes("openssl", [
              "dgst",
              `-${hash.replace("-", "").toLowerCase()}`,
              "-sign",
              path("key"),
              path("content"),
            ])
          ),
        );
      for (const signature of signatures) {
        assert.equal(await verifySignature(key, CONTENT, signature.slice()), true);
        assert.equal(await verifySignature(key, new TextEncoder().encode("other"), signature.slice()), false);
      }
    });
  });
}

Deno.test("OpenSSL's signatures with PSS", async () => {
  await withFiles({ content: CONTENT }, async (path) => {
    await run("openssl", ["genpkey", ...GENERATE.rsa2048, "-out", path("key")]);
    const key = await parsePublicKey(await run("openssl", ["pkey", "-in", path("key"), "-pubout"]));
    const accepted = async (salt: string) => {
      const options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", `rsa_pss_saltlen:${salt}`];
      const signature = await runBytes("openssl", [
        "dgst",
        "-sha256",
        "-sign",
        path("key"),
        ...options,
        path("content"),
      ]);
      return await verifySignature(key, CONTENT, signature.slice(), { pss: true });
    };
    assert.deepEqual([await accepted("digest"), await accepted("max"), await accepted("20")], [true, true, false]);
  });
});

for (const kind of KEY_KINDS) {
  Deno.test(`OpenSSL takes the lab's signatures of the kind ${kind}`, async () => {
    const key = await makeKey(kind);
    for (const hash of hashesOf(kind)) {
      const signature = await sign(key, CONTENT, { hash });
      await withFiles({ content: CONTENT, key: key.pem, signature }, async (path) => {
        const files = ["-signature", path("signature"), path("content")];
        const answer = kind === "ed25519"
          ? await run("openssl", [
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            path("key"),
            "-sigfile",
            path("signature"),
            "-in",
            path("content"),
          ])
          : await run("openssl", ["dgst", `-${hash.replace("-", "").toLowerCase()}`, "-verify", path("key"), ...files]);
        assert.match(answer, /^(?:Verified OK|Signature Verified Successfully)\n$/);
      });
    }
  });
}

Deno.test("what is no key that can be used is refused, and says why", async () => {
  const rsa1024 = await run("openssl", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
  const publicOf = (text: string) => run("openssl", ["pkey", "-pubout"], { input: text });
  const cubed = await run("openssl", [
    "genpkey",
    "-algorithm",
    "RSA",
    "-pkeyopt",
    "rsa_keygen_bits:2048",
    "-pkeyopt",
    "rsa_keygen_pubexp:3",
  ]);
  const k256 = await run("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]);
  const ed448 = await run("openssl", ["genpkey", "-algorithm", "ed448"]);
  const good = await makeKey("p256"), bent = good.spki.with(good.spki.length - 1, (good.spki.at(-1) ?? 0) ^ 1);
  const spki = (text: string) => text.replaceAll("\n", "");
  const cases: [pem: string, reason: RegExp][] = [
    [await publicOf(rsa1024), /^its RSA modulus has 1024 bits: only 2048 to 8192 are accepted$/],
    [await publicOf(cubed), /^its RSA exponent is 3: only odd ones from 65537 on are accepted$/],
    [await publicOf(k256), /^its elliptic curve \(1\.3\.132\.0\.10\) is not supported: only P-256, P-384, P-521$/],
    [await publicOf(ed448), /^its algorithm \(1\.3\.101\.113\) is not supported: only ECDSA, Ed25519 and RSA$/],
    [pem("PUBLIC KEY", bent), /^it is no ECDSA P-256 key$/],
    [pem("PUBLIC KEY", good.spki.subarray(0, 60)), /^a DER element is cut short$/],
    [pem("PUBLIC KEY", encodeDer(TAG.sequence)), /^a DER element of tag 0x30 is missing/],
    [rsa1024, /^it holds a PRIVATE KEY, not a PUBLIC KEY$/],
    [pem("CERTIFICATE", good.spki), /^it holds a CERTIFICATE, not a PUBLIC KEY$/],
    [good.pem + good.pem, /^it holds more than 1 blocks of PUBLIC KEY$/],
    [good.pem.replace("-----END", "----END"), /^a PEM block in it is broken$/],
    [spki(good.pem), /^a PEM block in it is broken$/],
    ["ssh-ed25519 AAAA", /^it holds no PEM block "PUBLIC KEY"$/],
    ["", /^it holds no PEM block "PUBLIC KEY"$/],
    ["x".repeat(300_000), /^it has 300000 characters/],
  ];
  for (const [text, reason] of cases) {
    await assert.rejects(parsePublicKey(text), { name: "FormatError", message: reason });
  }
  // Comments, and line ends of Windows, are no harm.
  assert.equal((await parsePublicKey(`release key\n${good.pem.replaceAll("\n", "\r\n")}`)).label, "ECDSA P-256");
});

Deno.test("an EC signature has one form", async () => {
  const key = await makeKey("p256"), known = await parsePublicKey(key.pem), good = await sign(key, CONTENT);
  const raw = new Uint8Array(64), padded = encodeDer(TAG.sequence, good.subarray(2), der.NULL);
  const numbers = good.subarray(2), long = new Uint8Array([0x30, 0x81, numbers.length, ...numbers]);
  assert.equal(await verifySignature(known, CONTENT, good), true);
  for (const signature of [raw, padded, long, new Uint8Array(), new Uint8Array([...good, 0]), good.subarray(1)]) {
    assert.equal(await verifySignature(known, CONTENT, signature as Uint8Array<ArrayBuffer>), false);
  }
});

Deno.test("OpenSSL takes the lab's certificates and timestamps", async () => {
  const instance = await makeInstance(), { root, intermediate, timestampRoot, timestampAuthority } = instance;
  const signer = await makeSigner(instance), at = String(SIGNED_AT.getTime() / 1000);
  const stamp = await makeTimestamp(timestampAuthority, CONTENT, SIGNED_AT);
  const files = {
    root: root.pem,
    intermediate: intermediate.pem,
    signer: signer.pem,
    tsaRoot: timestampRoot.pem,
    tsa: timestampAuthority.pem,
    stamp,
    content: CONTENT,
  };
  await withFiles(files, async (path) => {
    const chain = ["-attime", at, "-CAfile", path("root"), "-untrusted", path("intermediate"), path("signer")];
    assert.equal(await run("openssl", ["verify", ...chain]), `${path("signer")}: OK\n`);
    const trust = ["-attime", at, "-CAfile", path("tsaRoot"), "-untrusted", path("tsa")];
    assert.match(
      await run("openssl", ["ts", "-verify", "-in", path("stamp"), "-data", path("content"), ...trust]),
      /Verification: OK/,
    );
  });
});

const TSA_CONFIG = `[tsa]
default_tsa = t
[t]
serial = SERIAL
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
`;

for (const [kind, digest] of [["p256", "sha256"], ["p384", "sha384"], ["rsa2048", "sha512"]] as const) {
  Deno.test(`OpenSSL's timestamps with ${digest} by keys of the kind ${kind}`, async () => {
    await withFiles({ content: CONTENT }, async (path) => {
      const request = ["req", "-x509", "-days", "30", "-nodes"], ca = ["-CA", path("ca.crt"), "-CAkey", path("ca.key")];
      await run("openssl", ["genpkey", ...GENERATE.p256, "-out", path("ca.key")]);
      await run("openssl", ["genpkey", ...GENERATE[kind], "-out", path("tsa.key")]);
      await run("openssl", [
        ...request,
        "-key",
        path("ca.key"),
        "-subj",
        "/CN=ca",
        "-out",
        path("ca.crt"),
        "-addext",
        "keyUsage=critical,keyCertSign",
      ]);
      const usages = [
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=critical,timeStamping",
      ];
      await run("openssl", [
        ...request,
        ...ca,
        "-key",
        path("tsa.key"),
        "-subj",
        "/CN=tsa",
        "-out",
        path("tsa.crt"),
        ...usages,
      ]);
      await Deno.writeTextFile(path("config"), TSA_CONFIG.replace("SERIAL", path("serial")));
      await run("openssl", ["ts", "-query", "-data", path("content"), `-${digest}`, "-cert", "-out", path("query")]);
      const signer = ["-signer", path("tsa.crt"), "-inkey", path("tsa.key"), "-chain", path("ca.crt")];
      const before = Math.floor(Date.now() / 1000) * 1000;
      await run("openssl", [
        "ts",
        "-reply",
        "-config",
        path("config"),
        "-queryfile",
        path("query"),
        ...signer,
        "-out",
        path("stamp"),
      ]);
      const token = tokenOfResponse(await Deno.readFile(path("stamp")));
      const certificate = async (name: string) => {
        const [bytes = new Uint8Array()] = pemBlocks(await Deno.readTextFile(path(name)), "CERTIFICATE", 1);
        return parseCertificate(bytes);
      };
      const validFor = { start: new Date(0) }, root = await certificate("ca.crt"), own = await certificate("tsa.crt");
      // With the authority's own certificate listed, as Sigstore does it, and with its root alone, as Notary does.
      for (const authority of [authorityFrom([own, root], validFor), authorityFrom([root], validFor)]) {
        const { time, accuracy } = await verifyTimestamp(token, CONTENT, [authority]);
        assert.ok(time.getTime() >= before && time.getTime() <= Date.now());
        assert.equal(accuracy, 1501);
      }
      await assert.rejects(
        verifyTimestamp(token, new TextEncoder().encode("other"), [authorityFrom([root], validFor)]),
        {
          message: "a timestamp was made over something other than the signature",
        },
      );
      await assert.rejects(verifyTimestamp(token, CONTENT, []), {
        message: /its authority is not among the trusted ones$/,
      });
    });
  });
}
