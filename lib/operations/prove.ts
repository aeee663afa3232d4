/** Proving an image: what the policy in force says of it, with the signatures that lie beside it. */
import { CosError } from "../base/errors.ts";
import { type Digest, shortDigest } from "../base/digest.ts";
import type { Verification } from "../formats/record.ts";
import type { ImageReference } from "../formats/reference.ts";
import type { ResolvedImage } from "../oci/pull.ts";
import { attachedSignatures, referringSignatures, type SignatureKind } from "../oci/signatures.ts";
import type { Policy } from "../config/policy.ts";
import type { ArtifactNeed, Asked, Context, Decision, Found, Material, Requirement, Trusted } from "../trust/mod.ts";
import type { System } from "../system/system.ts";
import { askContentTrust, keepTrust, type TrustMemory, trustMemory, type TrustSeed } from "./content-trust.ts";
import type { Source } from "./install-image.ts";
import { policyInForce, saysNothing } from "./installed-policy.ts";
import type { Session } from "./session.ts";
import type { SourceSettings } from "./source.ts";
import type { Waiver } from "./record-keeping.ts";

export interface ProofSettings {
  image: ImageReference;
  /** Absent where none is in force. Loaded only when it is asked. */
  policy: () => Promise<Policy | undefined>;
  /** The operator's word, on the command line, that nothing is to be proven. */
  waiver?: Waiver;
  /** The same word from the machine's settings, or a Plan: it counts only where no policy says anything of the system. */
  waiverWithoutPolicy?: Waiver;
  /** This program was built then, in milliseconds since 1970: no clock can be right that says an earlier time. */
  builtAt: number;
  /** What the running image knows of content trust. */
  trustSeed: TrustSeed;
}

export interface Judgement {
  /** The policy's file, or the words that named a key. */
  origin: string;
  scope: string;
  decision: Decision;
}

const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.[0-9]+)?\+json(?:;version=0\.[0-9]+)?$/;
const KINDS = {
  attachments: {
    layer: /^application\/vnd\.dev\.cosign\.simplesigning\.v1\+json$/,
    most: 1024 * 1024,
  },
  bundles: {
    artifact: BUNDLE,
    layer: BUNDLE,
    most: 8 * 1024 * 1024,
  },
  notary: {
    artifact: /^application\/vnd\.cncf\.notary\.signature$/,
    layer: /^application\/(?:jose\+json|cose)$/,
    most: 1024 * 1024,
  },
} satisfies Record<ArtifactNeed, SignatureKind>;

/**
 * What the record is to say of the proof. Throws `UNVERIFIED` where nothing proves the image and nobody waived that, `UNTRUSTED`
 * where the policy refuses it, `CONFIGURATION`, and what fetching throws.
 */
export async function prove(
  system: System,
  source: Source,
  settings: ProofSettings & SourceSettings,
  memory: TrustMemory,
  signal: AbortSignal,
): Promise<Verification> {
  const { waiver, waiverWithoutPolicy: otherwise } = settings, at = new Date(system.now()).toISOString();
  if (waiver !== undefined) return { scheme: "skipped", ...waiver, at };
  const policy = await settings.policy();
  if (otherwise !== undefined && await saysNothing(policy)) return { scheme: "skipped", ...otherwise, at };
  if (policy === undefined) throw unproven(source, settings.image);
  const judgement = await judge(system, source, settings, policy, memory, signal);
  switch (judgement.decision.kind) {
    case "trusted":
      return verificationOf(judgement, judgement.decision.proofs, at);
    case "waived":
      // Distributions ship that default for containers: nobody has said it of the machine's own system.
      if (!policy.own && judgement.scope === "default") {
        if (otherwise !== undefined) return { scheme: "skipped", ...otherwise, at };
        throw unproven(source, settings.image, policy.origin);
      }
      return {
        scheme: "skipped",
        word: `${judgement.decision.word} in ${judgement.origin}`,
        by: "the policy",
        at,
        policy: judgement.origin,
        scope: judgement.scope,
      };
    case "refused":
      throw refused(source, judgement);
  }
}

/**
 * As above, where the state partition may be written: what was seen of content trust is remembered at once. From outside, where
 * nothing is said, the installed active system's policy is asked.
 */
export async function proveAndRemember(
  session: Session,
  source: Source,
  settings: ProofSettings & SourceSettings,
  signal: AbortSignal,
): Promise<Verification> {
  const { system, partition, events } = session, memory = trustMemory(system, partition, settings.trustSeed);
  using installed = new DisposableStack();
  const warn = (text: string) => events({ kind: "warning", text });
  const policy = policyInForce(system, session.look(), settings.policy, installed, warn);
  const verification = await prove(system, source, { ...settings, policy }, memory, signal);
  keepTrust(session, memory);
  return verification;
}

/** Asks the policy, and decides nothing. */
export async function judge(
  system: System,
  source: Source,
  settings: ProofSettings & SourceSettings,
  policy: Policy,
  memory: TrustMemory,
  signal: AbortSignal,
): Promise<Judgement> {
  const { image: reference, builtAt } = settings, now = new Date(system.now());
  const named = await absolute(reference), scope = policy.file.scopeOf(named);
  const { evaluate } = await import("cos/trust");
  if (scope === undefined) return { origin: policy.origin, scope: "directory", decision: DIRECTORY };
  const requirements = await policy.prepare(scope);
  if (requirements.some(({ needs }) => needs.length > 0) && now.getTime() < builtAt) throw wrongClock(now, builtAt);
  const image = source.kind === "image" ? source.image : undefined;
  const context: Context = {
    reference: named,
    subjects: image?.subjects ?? [],
    labels: image?.config.config?.Labels ?? {},
    created: validDate(image?.config.created ?? ""),
    now,
  };
  const material: Material = image === undefined ? {} : {
    ...await gather(image, requirements, policy, named, signal),
    contentTrust: await askContentTrust(system, requirements, named, settings, memory, signal),
  };
  return { origin: policy.origin, scope: scope.name, decision: await evaluate(requirements, material, context) };
}

const DIRECTORY: Decision = {
  kind: "refused",
  asked: [{
    requirement: { type: "reject", words: "no directory" },
    refusal: {
      trusted: false,
      reason: "nothing proves what a directory holds, and the policy does not allow this one",
    },
  }],
};

async function gather(
  image: ResolvedImage,
  requirements: readonly Requirement[],
  policy: Policy,
  reference: ImageReference,
  signal: AbortSignal,
): Promise<Partial<Record<ArtifactNeed, Map<Digest, Found>>>> {
  const needs = new Set(requirements.flatMap(({ needs }) => needs));
  const material: Partial<Record<ArtifactNeed, Map<Digest, Found>>> = {};
  for (const need of needs) {
    if (need === "contentTrust") continue;
    const found = material[need] = new Map<Digest, Found>();
    if (need === "attachments" && !await policy.readsAttachments(reference)) {
      const [{ digest } = { digest: image.digest }] = image.subjects;
      found.set(digest, { layers: [], faults: ["registries.d does not say use-sigstore-attachments: true for it"] });
      continue;
    }
    for (const { digest } of image.subjects) {
      found.set(
        digest,
        need === "attachments"
          ? await attachedSignatures(image, digest, KINDS.attachments, signal)
          : await referringSignatures(image, digest, KINDS[need], signal),
      );
    }
  }
  return material;
}

/** Scopes of files are absolute, and of no link. */
async function absolute(reference: ImageReference): Promise<ImageReference> {
  return reference.kind === "registry" ? reference : { ...reference, path: await Deno.realPath(reference.path) };
}

function validDate(text: string): Date | undefined {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** The first proof, and what the policy overlooks in any. */
function verificationOf(
  { origin, scope }: Judgement,
  proofs: readonly [Trusted, ...Trusted[]],
  at: string,
): Verification {
  const [{ scheme, signer, time, annotations }] = proofs,
    overlooked = proofs.flatMap((proof) => proof.overlooked ?? []);
  return {
    scheme,
    at,
    ...("key" in signer ? { key: signer.key } : { identity: signer.identity.san, issuer: signer.identity.issuer }),
    ...(time !== undefined && { time }),
    ...(annotations !== undefined && Object.keys(annotations).length > 0 && { annotations }),
    ...(overlooked.length > 0 && { overlooked }),
    policy: origin,
    scope,
  };
}

function subjectName(source: Source): string {
  return source.kind === "image" ? `${source.name} (${shortDigest(source.image.digest)})` : source.name;
}

function refused(source: Source, { origin, scope, decision }: Judgement): CosError {
  const reasons = decision.asked.flatMap(({ refusal }: Asked) => refusal?.reason ?? []);
  const asked = origin.startsWith("/")
    ? ` What it asks: cos policy check; of this image: cos policy test ${source.name}`
    : "";
  return new CosError("UNTRUSTED", `Refused ${subjectName(source)}: ${reasons.join("; ")}.`, {
    hint: `That is the word of ${origin}, scope "${scope}".${asked}`,
    details: { policy: origin, scope },
  });
}

/** @param origin a policy that accepts everything, if there is one. */
function unproven(source: Source, image: ImageReference, origin?: string): CosError {
  const why = origin === undefined
    ? "there is no policy"
    : `${origin} accepts anything by default, which is said of containers and not of this system`;
  return new CosError("UNVERIFIED", `Refused ${subjectName(source)}: nothing proves who made it, for ${why}.`, {
    hint: `Say in /etc/cos/policy.json whom to trust (docs/policy.md), for instance\n  ${examplePolicy(image)}\n  ` +
      "or name a key with --key FILE. To install it all the same, say --no-verify; that is recorded.",
  });
}

function examplePolicy(image: ImageReference): string {
  const [transport, scope, requirement] = image.kind === "registry"
    ? [
      "docker",
      `${image.host}/${image.repository}`,
      '"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}',
    ]
    : [image.kind === "layout" ? "oci" : image.kind, "", '"type": "sigstoreBundle"'];
  return [
    `{"default": [{"type": "reject"}], "transports": {"${transport}": {`,
    `  "${scope}": [{${requirement},`,
    '    "keyPath": "/etc/cos/release.pub"}]}}}',
  ].join("\n  ");
}

function wrongClock(now: Date, builtAt: number): CosError {
  const built = new Date(builtAt).toISOString();
  return new CosError(
    "CLOCK",
    `Cannot verify anything: the clock says ${now.toISOString()}, and this program is of ${built}.`,
    {
      hint: "Set the clock; certificates and signatures of the past would count as good otherwise.",
    },
  );
}
