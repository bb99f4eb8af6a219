/** The helper's version; it is installed apart from the rest, so it carries its own. */
export const helperVersion = '0.1.0';
