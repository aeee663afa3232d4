/** Distinguished names, as people write them and as certificates hold them. */
import assert from "node:assert/strict";
import {
  formatDistinguishedName,
  type NameAttribute,
  nameAttributes,
  parseDistinguishedName,
} from "../../lib/formats/distinguished-name.ts";
import { encodeDer } from "../../lib/formats/der.ts";
import * as der from "../lab/signing/der.ts";

const of = (...pairs: [string, string][]): NameAttribute[] => pairs.map(([type, value]) => ({ type, value }));

Deno.test("names are read with their escapes, and written so that they are read as the same", () => {
  const cases: [string, NameAttribute[], string][] = [
    ["C=US, ST=WA,O=acme", of(["C", "US"], ["ST", "WA"], ["O", "acme"]), "C=US, ST=WA, O=acme"],
    [" cn = a b ,s=x", of(["CN", "a b"], ["ST", "x"]), "CN=a b, ST=x"],
    ["O=a\\, b\\; c\\\\", of(["O", "a, b; c\\"]), "O=a\\, b\\; c\\\\"],
    ["O=\\  a \\ ,C=x", of(["O", "  a  "], ["C", "x"]), "O=\\  a \\ , C=x"],
    ["O=\\C3\\A9t\\e9".replace("\\e9", "\\C3\\A9"), of(["O", "été"]), "O=été"],
    ["O=a=b", of(["O", "a=b"]), "O=a=b"],
    ["O=\\#1", of(["O", "#1"]), "O=\\#1"],
    ['O=\\"\\+\\<\\>\\=', of(["O", '"+<>=']), 'O=\\"\\+\\<\\>='],
    [
      "UID=1, DC=b, OU=c, L=d, STREET=e, POSTALCODE=f, SERIALNUMBER=g",
      of(["UID", "1"], ["DC", "b"], ["OU", "c"], ["L", "d"], ["STREET", "e"], ["POSTALCODE", "f"], [
        "SERIALNUMBER",
        "g",
      ]),
      "UID=1, DC=b, OU=c, L=d, STREET=e, POSTALCODE=f, SERIALNUMBER=g",
    ],
  ];
  for (const [text, attributes, written] of cases) {
    assert.deepEqual(parseDistinguishedName(text), attributes, text);
    assert.equal(formatDistinguishedName(attributes), written);
    assert.deepEqual(parseDistinguishedName(written), attributes);
  }
});

Deno.test("names that could mean two things are refused", () => {
  const form = "is not of the form TYPE=VALUE, TYPE=VALUE";
  const cases: [string, string][] = [
    ["", form],
    ["C", form],
    ["C=US,", form],
    ["C=US,,O=a", form],
    ["O=a\\", form],
    ["C=", "has an empty value"],
    ["C=US, c=DE", "has the type C twice"],
    ["ST=a, S=b", "has the type ST twice"],
    ["E=a", "has the unknown type E"],
    ["2.5.4.6=US", "has the unknown type 2.5.4.6"],
    ["C=US+ST=WA", 'has "+" in a value without a backslash before it'],
    ["C=US;ST=WA", 'has ";" in a value without a backslash before it'],
    ['O="a"', 'has """ in a value without a backslash before it'],
    ["O=\\q", 'has a backslash before "q"'],
    ["O=#0401", "has a value in hexadecimal form, which is not supported"],
    ["O=\\FF", "has a value that is not UTF-8"],
  ];
  for (const [text, why] of cases) {
    assert.throws(() => parseDistinguishedName(text), { name: "FormatError", message: `the name "${text}" ${why}` });
  }
  assert.throws(() => parseDistinguishedName(`O=${"a".repeat(5000)}`), / is too long$/);
});

Deno.test("certificates' names: texts of three kinds, the rest as it is encoded", () => {
  const attribute = (id: string, value: Uint8Array) => der.sequence(der.oid(id), value);
  const name = der.sequence(
    der.set(attribute("2.5.4.6", der.text("DE", 0x13))),
    der.set(attribute("0.9.2342.19200300.100.1.25", der.text("lab", 0x16)), attribute("2.5.4.3", der.text("é"))),
    der.set(attribute("2.5.4.10", encodeDer(0x1e, new Uint8Array([0, 65])))),
    der.set(attribute("2.5.4.11", encodeDer(0x0c, new Uint8Array([0xff])))),
    der.set(attribute("1.2.3", der.text("x"))),
  );
  const attributes = of(["C", "DE"], ["DC", "lab"], ["CN", "é"], ["O", "#1e020041"], ["OU", "#0c01ff"], ["1.2.3", "x"]);
  assert.deepEqual(nameAttributes(name), attributes);
  assert.equal(formatDistinguishedName(attributes), "C=DE, DC=lab, CN=é, O=\\#1e020041, OU=\\#0c01ff, 1.2.3=x");
  assert.deepEqual(nameAttributes(der.sequence()), []);
  assert.throws(() => nameAttributes(der.sequence(der.set(der.sequence(der.oid("2.5.4.6"))))), {
    message: "a name in the certificate is malformed",
  });
});
