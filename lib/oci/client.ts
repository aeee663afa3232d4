/** One endpoint of a registry: requests with a login where one is asked for, and what its refusals mean. */
import { CosError, type ErrorCode } from "../base/errors.ts";
import type { Endpoint } from "../formats/endpoint.ts";
import { type CredentialLookup, parseChallenges } from "./auth.ts";
import { encodingOf, serverMessage } from "./body.ts";
import { endpointHost, endpointUrl, type Resource } from "./endpoint.ts";
import { Authorizer } from "./token.ts";
import type { Answer, Transport } from "./transport.ts";

export interface ClientOptions {
  /** The image, for messages. */
  subject: string;
  /** As in "WHO answered …": "the registry", or its name where there are several. */
  who: string;
  credentials: CredentialLookup;
}

export class EndpointClient {
  readonly host: string;
  /** Tells it from others, also from those at the same host. */
  readonly key: string;
  readonly #authorizer: Authorizer;
  #credentials: ReturnType<CredentialLookup> | undefined;

  constructor(readonly endpoint: Endpoint, readonly transport: Transport, readonly options: ClientOptions) {
    this.host = endpointHost(endpoint);
    this.key = endpoint.origin + endpoint.apiPath + "/" + endpoint.repository;
    const { subject, who, credentials } = options;
    const lookup = (signal?: AbortSignal) =>
      this.#credentials ??= endpoint.credentials !== undefined
        ? Promise.resolve(endpoint.credentials)
        : credentials(endpoint.loginHost ?? this.host, endpoint.repository, signal);
    this.#authorizer = new Authorizer(transport, { endpoint, subject, who, credentials: lookup });
  }

  /** A GET; any status but the registry's own 401 is the caller's to judge. */
  async get(
    kind: Resource,
    name: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
    page?: URLSearchParams,
  ): Promise<Answer> {
    const url = endpointUrl(this.endpoint, kind, name, page), { subject, who } = this.options;
    const { tls } = this.endpoint;
    let rescoped = false;
    for (let attempt = 1;; attempt++) {
      const authorization = await this.#authorizer.header(signal);
      const own = { ...this.endpoint.headers, ...(authorization !== undefined && { Authorization: authorization }) };
      const answer = await this.transport.ask({ url, headers, own, tls, subject, who, signal });
      const { response, from } = answer;
      // Where a redirect led may ask for a login too, and name its own token server: it must not get the registry's.
      if (response.status !== 401 || from.origin !== url.origin) return answer;
      const challenges = parseChallenges(response.headers.get("www-authenticate") ?? "");
      const said = await serverMessage(response, this.host, this.transport.stallLimit, signal);
      // The second 401 stands, unless it is because the token was for something else than the server now says.
      const scope = challenges.some(({ parameters }) => parameters.get("error") === "insufficient_scope");
      if (attempt > 1 && (!scope || rescoped)) throw this.#authorizer.unauthorized(said);
      rescoped ||= scope;
      await this.#authorizer.answer(challenges, said, signal);
    }
  }

  /** What an answer that is none means. */
  async failure(
    { response, from }: Answer,
    what: "manifest" | "blob" | "list" | "file of content trust",
    signal?: AbortSignal,
  ): Promise<CosError> {
    const said = await serverMessage(response, from.host, this.transport.stallLimit, signal);
    const { status } = response, { subject, who } = this.options, words = said === "" ? "" : `: ${said}`;
    // 404 is what the specification says of lists; older registries know no such path, or no such method.
    if (what === "list" && [404, 400, 405].includes(status)) {
      return new CosError("IMAGE_NOT_FOUND", `Cannot find what belongs to ${subject}: ${who} has no list of it.`, {
        hint: "Ask whoever runs the registry whether it keeps lists of referrers (OCI distribution-spec 1.1).",
      });
    }
    if (status === 404 && what === "manifest") {
      return new CosError("IMAGE_NOT_FOUND", `Cannot find ${subject}: ${who} has no such image.`, {
        hint: "Check the repository's name and the tag; some registries say this too where a login is needed.",
      });
    }
    if (status === 403) return this.#authorizer.unauthorized(said);
    if (status === 404) return this.error(`${who} lost a ${what} that the image needs`, "REGISTRY_ERROR", status);
    return this.error(
      `${who} answered the request for a ${what} with status ${status}${words}`,
      "REGISTRY_ERROR",
      status,
    );
  }

  /** A body that was compressed on its way is not the bytes that the digest names, and the runtime undoes it silently. */
  async refuseEncoded({ response }: Answer, what: string): Promise<void> {
    const encoding = encodingOf(response);
    if (encoding === undefined) return;
    await response.body?.cancel();
    throw this.error(`${this.options.who} sent a ${what} compressed once more (${encoding}), unasked`);
  }

  error(why: string, code: ErrorCode = "REGISTRY_ERROR", status?: number): CosError {
    return new CosError(code, `Cannot pull ${this.options.subject}: ${why}.`, {
      hint: "Try again; if it stays so, ask whoever runs the registry.",
      ...(status !== undefined && { details: { status } }),
    });
  }
}
