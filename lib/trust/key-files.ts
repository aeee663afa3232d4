/** Keys and certificates as policies name them: paths of PEM files, or Base64 of their content (containers-policy.json(5)). */
import * as z from "zod/mini";
import type { Bytes } from "../base/bytes.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { pemBlocks } from "../formats/pem.ts";
import { type Certificate, parseCertificate } from "../formats/x509.ts";
import { parsePublicKey, type PublicKey } from "./keys.ts";
import type { ReadFile } from "./requirement.ts";
import { someBase64 } from "./shape.ts";

/** Certificates in one file, and files of one kind. */
const MAX_FILES = 50;

export const path = z.string().check(z.regex(/^\//));
export const paths = z.array(path).check(z.minLength(1), z.maxLength(MAX_FILES));
export const datas = z.array(someBase64).check(z.minLength(1), z.maxLength(MAX_FILES));

export interface Named {
  path?: string | undefined;
  paths?: readonly string[] | undefined;
  data?: Bytes | undefined;
  datas?: readonly Bytes[] | undefined;
}

/** The contents, with where each came from. Throws `FormatError` where not exactly one way was used to name them. */
export async function contentsOf(
  what: string,
  named: Named,
  read: ReadFile,
): Promise<{ text: string; from: string }[]> {
  const ways = Object.entries(named).filter(([, value]) => value !== undefined);
  if (ways.length !== 1) {
    throw new FormatError(
      `${what} must be named in exactly one way (Path, Paths, Data or Datas), not in ${ways.length}`,
    );
  }
  const files = [...named.paths ?? [], ...named.path === undefined ? [] : [named.path]];
  const contents = [];
  for (const from of files) contents.push({ text: textOf(await present(from, read)), from });
  for (const data of [...named.datas ?? [], ...named.data === undefined ? [] : [named.data]]) {
    contents.push({ text: textOf(data), from: `${what} in the policy` });
  }
  return contents;
}

/** Throws `FormatError`. */
export async function keysOfFiles(what: string, named: Named, read: ReadFile): Promise<PublicKey[]> {
  const keys = [];
  for (const { text, from } of await contentsOf(what, named, read)) {
    keys.push(await placed(from, () => parsePublicKey(text)));
  }
  return keys;
}

/** Throws `FormatError`. */
export async function certificatesOfFiles(what: string, named: Named, read: ReadFile): Promise<Certificate[]> {
  const certificates: Certificate[] = [];
  for (const { text, from } of await contentsOf(what, named, read)) {
    const blocks = await placed(from, () => pemBlocks(text, "CERTIFICATE", MAX_FILES));
    for (const block of blocks) certificates.push(await placed(from, () => parseCertificate(block)));
  }
  return certificates;
}

/** Throws `FormatError` where the file is missing. */
export async function present(path: string, read: ReadFile): Promise<Bytes> {
  const bytes = await read(path);
  if (bytes === undefined) throw new FormatError(`${path} does not exist`);
  return bytes;
}

/** A fault of a file names the file. */
export async function placed<T>(from: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (isFormatError(thrown)) {
      throw new FormatError(`${from} cannot be used: ${thrown.message}`, { cause: thrown });
    }
    throw thrown;
  }
}

function textOf(bytes: Bytes): string {
  return new TextDecoder("latin1").decode(bytes);
}
