/** A real registry (Debian's docker-registry) on a free loopback port, with its own storage. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "./certificates.ts";
import { disposable, scratchDirectory } from "./cleanup.ts";
import { exportSkopeoDirectory, layoutDescriptor, sha256 } from "./oci-layout.ts";
import { endServer, run, runBytes } from "./run.ts";

/** Debian packages that it needs (perl-base, for a password's hash, is always there). */
export const REGISTRY_PACKAGES = ["docker-registry", "openssl", "skopeo"];

export interface RegistryOptions {
  /** Asks for this user and password (basic authentication). */
  user?: { name: string; password: string };
  /** Serves https with a certificate for 127.0.0.1 and localhost, signed by a CA of its own. */
  tls?: boolean;
  /** More names that the certificate is for. */
  names?: readonly string[];
  /** PEM files of CAs: who has no certificate by one of them is refused. `push` then cannot be used. */
  clientCas?: readonly string[];
  /** Asks for tokens of this server. */
  token?: { realm: string; service: string; issuer: string; rootcertbundle: string };
  /** Is a pull-through cache of this registry. */
  remote?: { url: string; user?: { name: string; password: string } };
  /** Where the blobs lie; stays after `close`. Default: a scratch directory. */
  storage?: string;
}

export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  port: number;
  /** PEM file of the CA, where it serves https. */
  caFile?: string;
  /** Pushes a tag of an OCI layout, byte for byte, to `NAME:TAG` here; returns the manifest's digest. */
  push(layout: string, tag: string, reference: string): Promise<string>;
  /** The digest of what `NAME:TAG` names here, by skopeo. */
  manifestDigest(reference: string): Promise<string>;
  /** What the registry logged so far. */
  log(): string;
  close(): Promise<void>;
}

/** How long a registry may take to listen. */
const DEADLINE_MS = 20_000;

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  await using made = new AsyncDisposableStack();
  const { path: directory } = made.use(scratchDirectory("registry"));
  const storage = options.storage ?? join(directory, "storage");
  mkdirSync(storage, { recursive: true });
  const tls = options.tls === true ? await makeCertificates(directory, options.names) : undefined;
  const htpasswd = join(directory, "htpasswd");
  if (options.user !== undefined) writeFileSync(htpasswd, await passwordLine(options.user));
  const configFile = join(directory, "registry.json");
  writeFileSync(
    configFile,
    // The registry reads YAML, of which JSON is a part. Port 0: the kernel picks a free one, and the log names it.
    JSON.stringify({
      version: "0.1",
      log: { level: "info", formatter: "text" },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: {
        addr: "127.0.0.1:0",
        ...(tls && {
          tls: {
            certificate: tls.certificate,
            key: tls.key,
            ...(options.clientCas && { clientcas: options.clientCas }),
          },
        }),
      },
      ...(options.user && { auth: { htpasswd: { realm: "lab", path: htpasswd } } }),
      ...(options.token && { auth: { token: options.token } }),
      ...(options.remote && {
        proxy: {
          remoteurl: options.remote.url,
          ...(options.remote.user && { username: options.remote.user.name, password: options.remote.user.password }),
        },
      }),
    }),
  );
  const child = spawn("docker-registry", ["serve", configFile], {
    stdio: ["ignore", "ignore", "pipe"],
    // In a session of its own: Ctrl-C must not end it before those who are pulling from it.
    detached: true,
    // Tracing would look for a collector; and a proxy of the machine's must not stand between loopback and loopback.
    env: { PATH: Deno.env.get("PATH"), OTEL_TRACES_EXPORTER: "none" },
  });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  made.use(disposable(() => endServer(child, ended)));
  const { port, log } = await listening(child);
  const host = `127.0.0.1:${port}`;
  const scheme = tls === undefined ? "http" : "https";
  // Without a certificate it answers nobody; that it listens is known.
  if (options.clientCas === undefined) await answering(`${scheme}://${host}/v2/`, tls?.ca);

  const creds = options.user && `${options.user.name}:${options.user.password}`;
  const push = async (layout: string, tag: string, reference: string) => {
    const { mediaType, digest } = layoutDescriptor(layout, tag);
    let source = `oci:${layout}:${tag}`;
    const exported = join(directory, "push");
    if (mediaType.includes("docker")) {
      exportSkopeoDirectory(layout, tag, exported);
      source = `dir:${exported}`;
    }
    await run("skopeo", [
      ...["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"],
      ...(creds === undefined ? [] : ["--dest-creds", creds]),
      source,
      `docker://${host}/${reference}`,
    ]);
    rmSync(exported, { recursive: true, force: true });
    return digest;
  };
  const manifestDigest = async (reference: string) =>
    sha256(
      await runBytes("skopeo", [
        ...["--insecure-policy", "inspect", "--raw", "--tls-verify=false"],
        ...(creds === undefined ? [] : ["--creds", creds]),
        `docker://${host}/${reference}`,
      ]),
    );

  const kept = made.move();
  const close = () => kept.disposeAsync();
  return {
    ...{ host, port, push, manifestDigest, log, close, [Symbol.asyncDispose]: close },
    ...(tls !== undefined && { caFile: tls.ca }),
  };
}

/** Reads the registry's log until it names the port; goes on reading, so that the pipe never fills. */
function listening(child: ChildProcess): Promise<{ port: number; log: () => string }> {
  let text = "";
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`The registry did not listen in time:\n${text}`)), DEADLINE_MS);
    const settle = (outcome: () => void) => {
      clearTimeout(deadline);
      outcome();
    };
    child.on("error", (error) => settle(() => reject(error)));
    child.on("close", () => settle(() => reject(new Error(`The registry ended before it listened:\n${text}`))));
    child.stderr?.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      if (port !== undefined) settle(() => resolve({ port: Number(port), log: () => text }));
    });
  });
}

/** Waits until it answers: 200, or 401 where it asks for a password. */
async function answering(url: string, caFile: string | undefined): Promise<void> {
  const ca = caFile === undefined ? [] : [Deno.readTextFileSync(caFile)];
  using client = Deno.createHttpClient({ caCerts: ca });
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    try {
      const response = await fetch(url, { client });
      await response.body?.cancel();
      if (response.status === 200 || response.status === 401) return;
      throw new Error(`${url} answers ${response.status}`);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A line of an htpasswd file. The registry takes bcrypt alone, and libcrypt makes it. */
async function passwordLine(user: { name: string; password: string }): Promise<string> {
  const script =
    'my ($user, $password) = @ARGV; print "$user:", crypt($password, q($2y$05$labsaltlabsaltlabsaltu)), "\\n"';
  return await run("perl", ["-e", script, user.name, user.password]);
}
