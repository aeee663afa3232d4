/** A real server of Docker Content Trust (Debian's notary-server) on a free loopback port, and its client's commands. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { disposable, scratchDirectory } from "./cleanup.ts";
import { endServer, run } from "./run.ts";

/** Debian packages that it needs. */
export const NOTARY_PACKAGES = ["notary", "openssl"];

/** How long the server may take to answer. */
const DEADLINE_MS = 20_000;
/** Between asking whether it answers. */
const PAUSE_MS = 20;
/** Another process may take a port between looking for a free one and using it. */
const TRIES = 5;
/** Of all its keys. */
export const PASSPHRASE = "lab-passphrase";

export interface Notary extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  url: string;
  /** Runs `notary WORDS…` as the one who holds all keys of the lab; answers its questions with yes. */
  notary(...words: string[]): Promise<string>;
  /** Signs a manifest under a tag, and publishes that. @param role `targets` unless it is said. */
  sign(gun: string, tag: string, manifest: Uint8Array, role?: string): Promise<void>;
  /** Lets a new key sign for `targets/releases`. @param paths the names that are its own; all unless it is said. */
  delegate(gun: string, paths?: string): Promise<void>;
  /** A file as the server has it, by its name without ".json"; undefined where it has none. */
  file(gun: string, name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** The id of the repository's newest root key, as metadata names it. */
  rootKeyId(gun: string): Promise<string>;
}

export async function startNotary(): Promise<Notary> {
  await using made = new AsyncDisposableStack();
  const { path: directory } = made.use(scratchDirectory("notary"));
  const server = await startServer(directory), { url } = server;
  made.use(server);
  const passphrases = ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"].map((
    role,
  ) => [`NOTARY_${role}_PASSPHRASE`, PASSPHRASE]);
  const env = { HOME: directory, ...Object.fromEntries(passphrases) };
  const notary = (...words: string[]) =>
    run("notary", ["-s", url, "-d", join(directory, "client"), ...words], { env, input: "yes\nyes\n" });
  const file = async (gun: string, name: string) => {
    const response = await fetch(`${url}/v2/${gun}/_trust/tuf/${name}.json`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw new Error(`${response.url} answers ${response.status}`);
    return bytes;
  };
  let keys = 0;
  const kept = made.move();
  return {
    url,
    notary,
    sign: async (gun, tag, manifest, role = "targets") => {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(manifest))).toHex();
      await notary("addhash", gun, tag, String(manifest.length), "--sha256", hash, "-r", role, "-p");
    },
    delegate: async (gun, paths) => {
      const name = join(directory, `delegate${++keys}`);
      await run("openssl", [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "400", "-subj", `/CN=lab delegate ${keys}`],
        ...["-keyout", `${name}.key`, "-out", `${name}.crt`],
      ]);
      const which = paths === undefined ? ["--all-paths"] : ["--paths", paths];
      await notary("delegation", "add", gun, "targets/releases", `${name}.crt`, ...which, "-p");
      await notary("key", "import", `${name}.key`, "--role", "targets/releases", "--gun", gun);
    },
    file,
    rootKeyId: async (gun) => {
      const root = JSON.parse(new TextDecoder().decode(await file(gun, "root")));
      return root.signed.roles.root.keyids[0];
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function startServer(directory: string): Promise<AsyncDisposable & { url: string }> {
  const config = join(directory, "server.json");
  for (let attempt = 1;; attempt++) {
    const address = `127.0.0.1:${freePort()}`;
    Deno.writeTextFileSync(
      config,
      JSON.stringify({
        server: { http_addr: address },
        trust_service: { type: "local" },
        storage: { backend: "memory" },
        logging: { level: "error" },
      }),
    );
    const child = spawn("notary-server", ["-config", config], {
      stdio: ["ignore", "ignore", "ignore"],
      // In a session of its own: Ctrl-C must not end it before those who are asking it.
      detached: true,
      env: { PATH: Deno.env.get("PATH") },
    });
    const ended = new Promise<void>((resolve, reject) => {
      child.on("close", () => resolve());
      child.on("error", reject);
    });
    await using made = new AsyncDisposableStack();
    made.use(disposable(() => endServer(child, ended)));
    if (await answers(`http://${address}`, ended)) {
      const kept = made.move();
      return { url: `http://${address}`, [Symbol.asyncDispose]: () => kept.disposeAsync() };
    }
    if (attempt === TRIES) throw new Error("notary-server found no free port");
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Whether it comes to answer; false: it ended before. */
async function answers(url: string, ended: Promise<void>): Promise<boolean> {
  const deadline = Date.now() + DEADLINE_MS;
  let over = false;
  void ended.then(() => over = true, () => over = true);
  for (;;) {
    try {
      const response = await fetch(`${url}/_notary_server/health`);
      await response.body?.cancel();
      // Somebody else's server on this port would end ours.
      if (!over) return true;
    } catch (thrown) {
      if (Date.now() > deadline) throw thrown;
    }
    if (over) return false;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
