/** The environment is read here and nowhere else; what needs a variable of it is given this function. */

export type Environment = (name: string) => string | undefined;

export const environment: Environment = (name) => Deno.env.get(name);
