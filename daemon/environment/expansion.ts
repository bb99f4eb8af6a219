/**
 * `$(VAR)` in the value of a variable, as kubelet expands it: known names are replaced, unknown ones stay as they are
 * written, `$$` is a dollar that begins nothing.
 * https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion/expand.go
 */
export function expand(text: string, valueOf: (name: string) => string | undefined): string {
  return text.replaceAll(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    return valueOf(name) ?? whole;
  });
}

/** The names that a value refers to. */
export function referencesOf(text: string): string[] {
  const names: string[] = [];
  expand(text, (name) => (names.push(name), ''));
  return names;
}
