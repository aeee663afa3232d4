/** One of several requirements is enough: an image may be signed in one form or another. */
import * as z from "zod/mini";
import type { Need, RequirementKind } from "../requirement.ts";
import { refusal, type Trusted } from "../verdict.ts";

const schema = z.strictObject({
  type: z.literal("anyOf"),
  requirements: z.array(z.unknown()).check(z.minLength(1), z.maxLength(20)),
});

export const any: RequirementKind<z.infer<typeof schema>> = {
  type: "anyOf",
  own: true,
  schema,
  inner: ({ requirements }) => requirements,
  prepare: (_value, _files, inner) => {
    const doubts = [...new Set(inner.flatMap(({ doubt }) => doubt ?? []))];
    return Promise.resolve({
      type: "anyOf",
      words: inner.map(({ words }) => words).join(", or "),
      proves: inner.every(({ proves }) => proves),
      needs: [...new Set(inner.flatMap(({ needs }): readonly Need[] => needs))],
      doubt: doubts.length === 0 ? undefined : doubts.join(" "),
      contentTrust: inner.flatMap(({ contentTrust = [] }) => contentTrust),
      verify: async (material, context, sofar: readonly Trusted[]) => {
        const reasons: string[] = [];
        for (const { type, verify } of inner) {
          const answer = await verify(material, context, sofar);
          if (typeof answer === "string" || "waived" in answer || answer.trusted) return answer;
          reasons.push(`${type}: ${answer.reason}`);
        }
        return refusal(`it is signed in none of the accepted ways: ${reasons.join("; ")}`);
      },
    });
  },
};
