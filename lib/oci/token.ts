/**
 * The Authorization header for one endpoint: none at first, then what its challenges ask for. Distribution's "Token
 * Authentication Specification" and "OAuth2 Token Authentication", as containers/image reads them.
 */
import { displayText } from "../base/byte-string.ts";
import { CosError } from "../base/errors.ts";
import { type Endpoint, isLoopback } from "../formats/endpoint.ts";
import { basicHeader, type Challenge, type Credentials } from "./auth.ts";
import { MAX_SMALL_BODY, parseObject, readAll, serverMessage } from "./body.ts";
import { endpointHost } from "./endpoint.ts";
import type { Answer, Transport } from "./transport.ts";

/** A token lives so long where the server does not say, and where it says less. Seconds. */
const MIN_LIFETIME = 60;
/** Renewed so long before it ends: the clocks' difference and a request's time. Milliseconds. */
const MARGIN = 10_000;
/** What no header can hold is no token. */
const SENDABLE = /^[\x21-\x7e]+$/;
/** As the token server's log names us. */
const CLIENT = "cos";

export interface AuthorizerOptions {
  endpoint: Endpoint;
  /** The image, for messages. */
  subject: string;
  /** As in "WHO refuses access". */
  who: string;
  credentials: (signal?: AbortSignal) => Promise<Credentials | undefined>;
}

interface Grant {
  header: string;
  /** Milliseconds since 1970; absent: it does not end. */
  until?: number;
  challenge?: Challenge;
}

export class Authorizer {
  readonly #transport: Transport;
  readonly #options: AuthorizerOptions;
  #grant: Grant | undefined;

  constructor(transport: Transport, options: AuthorizerOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  /** For the next request; a token that is about to end is replaced before. */
  async header(signal?: AbortSignal): Promise<string | undefined> {
    const { until, challenge } = this.#grant ?? {};
    if (until !== undefined && challenge !== undefined && this.#transport.now() >= until - MARGIN) {
      await this.answer([challenge], "", signal);
    }
    return this.#grant?.header;
  }

  /** Answers the challenges of a 401. Throws `UNAUTHORIZED` where nothing is known that they would take. */
  async answer(challenges: readonly Challenge[], said: string, signal?: AbortSignal): Promise<void> {
    const credentials = await this.#options.credentials(signal);
    const bearer = challenges.find((c) => c.scheme === "bearer" && c.parameters.has("realm"));
    if (credentials?.registryToken !== undefined && challenges.some((c) => c.scheme === "bearer")) {
      if (!SENDABLE.test(credentials.registryToken)) throw this.#unsendable();
      this.#grant = { header: `Bearer ${credentials.registryToken}` };
    } else if (bearer !== undefined) {
      const { token, seconds } = await this.#token(bearer, credentials, said, signal);
      const until = this.#transport.now() + Math.max(seconds, MIN_LIFETIME) * 1000;
      this.#grant = { header: `Bearer ${token}`, until, challenge: bearer };
    } else if (challenges.some((c) => c.scheme === "basic") && hasPassword(credentials)) {
      this.#grant = { header: basicHeader(credentials) };
    } else throw this.unauthorized(said);
  }

  unauthorized(said: string): CosError {
    const { endpoint, subject, who } = this.#options, words = said === "" ? "" : ` (it says: ${said})`;
    const host = endpoint.loginHost ?? endpointHost(endpoint);
    return new CosError("UNAUTHORIZED", `Cannot read ${subject}: ${who} refuses access${words}.`, {
      hint:
        `Put a login for ${host} into /etc/cos/auth.json or ~/.docker/config.json, or check that it may read this repository.`,
    });
  }

  async #token(
    { parameters }: Challenge,
    credentials: Credentials | undefined,
    said: string,
    signal: AbortSignal | undefined,
  ): Promise<{ token: string; seconds: number }> {
    const realm = this.#realm(parameters.get("realm") ?? ""), service = parameters.get("service");
    const scope = parameters.get("scope") ?? `repository:${this.#options.endpoint.repository}:pull`;
    const wanted = new URLSearchParams({ ...(service !== undefined && { service }), scope });
    let answer: Answer | undefined;
    if (credentials?.identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: credentials.identityToken,
        client_id: CLIENT,
      });
      for (const [name, value] of wanted) form.append(name, value);
      answer = await this.#ask(realm, {}, form, signal);
      // A server that knows no OAuth2 is asked as the older specification says.
      if (answer.response.status === 404 || answer.response.status === 405) {
        await answer.response.body?.cancel();
        answer = undefined;
      }
    }
    if (answer === undefined) {
      if (credentials !== undefined && credentials.username !== "") {
        realm.searchParams.set("account", credentials.username);
      }
      for (const [name, value] of wanted) realm.searchParams.set(name, value);
      const password = credentials?.identityToken ?? credentials?.password;
      const own: Record<string, string> = {};
      if (credentials !== undefined && password !== undefined && (credentials.username !== "" || password !== "")) {
        own.Authorization = basicHeader({ username: credentials.username, password });
      }
      answer = await this.#ask(realm, own, undefined, signal);
    }
    return await this.#readToken(answer, said, signal);
  }

  #ask(url: URL, own: Record<string, string>, form: URLSearchParams | undefined, signal: AbortSignal | undefined) {
    const { endpoint: { tls, origin }, subject } = this.#options;
    // Another host than the registry gets neither its client certificate nor its permission not to be verified.
    const settings = url.hostname === new URL(origin).hostname ? tls : { ca: tls.ca };
    return this.#transport.ask({
      url,
      headers: { Accept: "application/json" },
      own,
      tls: settings,
      form,
      subject,
      who: "the token server",
      signal,
    });
  }

  async #readToken({ response, from }: Answer, said: string, signal: AbortSignal | undefined) {
    const { stallLimit } = this.#transport, { status } = response;
    if (status !== 200) {
      const told = await serverMessage(response, from.host, stallLimit, signal);
      // 400 is how OAuth2 refuses a login: RFC 6749, section 5.2.
      if (status === 401 || status === 403 || status === 400) throw this.unauthorized(told || said);
      const words = told === "" ? "" : `: ${told}`;
      throw this.#error(`${this.#options.who} answered the request for a token with status ${status}${words}`, status);
    }
    const bytes = await readAll(response, from.host, MAX_SMALL_BODY, "the token server's answer", stallLimit, signal);
    const answer = parseObject(bytes), given = [answer?.token, answer?.access_token];
    const token = given.find((value) => value !== undefined && value !== "");
    if (typeof token !== "string" || !SENDABLE.test(token)) {
      throw this.#error("the token server answered without a token");
    }
    const lifetime = answer?.expires_in, seconds = typeof lifetime === "number" ? lifetime : MIN_LIFETIME;
    return { token, seconds };
  }

  #realm(text: string): URL {
    const { who, endpoint } = this.#options, url = URL.parse(text);
    if (url === null || !["https:", "http:"].includes(url.protocol)) {
      throw this.#error(`${who} names "${displayText(text)}" as its token server`);
    }
    // A registry on this machine may speak plainly, and its token server here as well: but not a login to anywhere else.
    const here = new URL(endpoint.origin);
    const plain = here.protocol === "http:" && (isLoopback(url.host) || !isLoopback(here.host));
    if (url.protocol !== "https:" && !plain) {
      throw this.#error(`${who} names ${url.protocol}//${url.host} as its token server, which is not encrypted`);
    }
    return url;
  }

  /** The token is not repeated: it is a secret. */
  #unsendable(): CosError {
    const { endpoint, subject } = this.#options, host = endpoint.loginHost ?? endpointHost(endpoint);
    return new CosError("UNAUTHORIZED", `Cannot read ${subject}: the token in the login for ${host} cannot be sent.`, {
      hint:
        'Write "registrytoken" anew: it is empty, or holds a space, a line\'s end or another character that no token has.',
    });
  }

  #error(why: string, status?: number): CosError {
    return new CosError("REGISTRY_ERROR", `Cannot pull ${this.#options.subject}: ${why}.`, {
      hint: "Try again; if it stays so, ask whoever runs the registry.",
      ...(status !== undefined && { details: { status } }),
    });
  }
}

function hasPassword(credentials: Credentials | undefined): credentials is Credentials {
  return credentials !== undefined && credentials.username !== "" && credentials.identityToken === undefined;
}
