/** The links of an archive, resolved as the kernel would, but inside the volume only. Pure: nothing is read or made. */

/** Each is compared with each. */
const maxLinks = 5_000;

export class Links {
  readonly #targets = new Map<string, string>();

  /** Throws where there are more than any honest volume has. */
  add(path: string, target: string): void {
    if (this.#targets.size >= maxLinks) throw new RangeError(`more than ${maxLinks} links`);
    this.#targets.set(path, target);
  }

  /**
   * Each link with the path that it leads to in the end, where no link is on the way; `undefined` for links in a circle.
   * Such that what is copied is complete: a link inside a folder comes before the links to that folder.
   */
  inOrder(): Array<{ path: string; target: string | undefined }> {
    const all = [...this.#targets.keys()].map((path) => ({ path, target: this.#resolve(path) }));
    const ordered: typeof all = [];
    const done = new Set<string>();
    const visit = (link: (typeof all)[number]): void => {
      if (done.has(link.path)) return;
      done.add(link.path);
      for (const other of all) {
        if (link.target !== undefined && other.path.startsWith(`${link.target}/`)) visit(other);
      }
      ordered.push(link);
    };
    for (const link of all) visit(link);
    return ordered;
  }

  #resolve(path: string): string | undefined {
    let parts = path.split('/');
    // As many as Linux follows (MAXSYMLINKS).
    for (let followed = 0; followed <= 40; followed++) {
      const at = parts.findIndex((_, index) => this.#targets.has(parts.slice(0, index + 1).join('/')));
      if (at < 0) return parts.join('/');
      const target = this.#targets.get(parts.slice(0, at + 1).join('/'))!;
      parts = [...(target === '' ? [] : target.split('/')), ...parts.slice(at + 1)];
    }
    return undefined;
  }
}
