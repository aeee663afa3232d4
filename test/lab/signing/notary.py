"""A second opinion on Notary Project signatures, by Debian's cbor2, json and cryptography: prints what one says, if it is its signer's.

    notary.py jws|cose FILE

The result is JSON: the signed header's names and the payload. A signature that is not the first certificate's ends with an exception.
"""
import base64
import json
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

HASHES = {256: hashes.SHA256, 384: hashes.SHA384, 512: hashes.SHA512}


def url64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_jws(data):
    envelope = json.loads(data)
    header = json.loads(url64(envelope["protected"]))
    signed = (envelope["protected"] + "." + envelope["payload"]).encode()
    chain = [base64.b64decode(one) for one in envelope["header"]["x5c"]]
    return header, int(header["alg"][2:]), signed, url64(envelope["payload"]), url64(envelope["signature"]), chain


def read_cose(data):
    tag = cbor2.loads(data)
    assert tag.tag == 18
    protected, unprotected, payload, signature = tag.value
    header = cbor2.loads(protected)
    bits = {-7: 256, -35: 384, -36: 512, -37: 256, -38: 384, -39: 512}[header[1]]
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    names = {1: "alg", 2: "crit", 3: "cty"}
    return {names.get(key, key): value for key, value in header.items()}, bits, signed, payload, signature, unprotected[33]


def main(kind, path):
    with open(path, "rb") as file:
        data = file.read()
    header, bits, signed, payload, signature, chain = {"jws": read_jws, "cose": read_cose}[kind](data)
    key, chosen = x509.load_der_x509_certificate(chain[0]).public_key(), HASHES[bits]()
    if isinstance(key, ec.EllipticCurvePublicKey):
        half = (key.curve.key_size + 7) // 8
        assert len(signature) == 2 * half
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(chosen))
    else:
        key.verify(signature, signed, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
    print(json.dumps({"header": sorted(header), "payload": json.loads(payload)}))


main(*sys.argv[1:])
