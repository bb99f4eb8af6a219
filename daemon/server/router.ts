/** Finds the route of a request in the table of api/routes.ts. */
import { BowlineError } from '../../api/errors.ts';
import { routes, type Route, type RouteName } from '../../api/routes.ts';
import { productVersion, protocolText } from '../../api/version.ts';

const table = Object.entries<Route>(routes).map(([name, route]) => ({
  name: name as RouteName,
  route,
  pattern: new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
}));

export interface Found {
  name: RouteName;
  route: Route;
  params: Record<string, string>;
  query: Record<string, string>;
}

export function findRoute(method: string, target: string): Found {
  const [path, search] = splitOnce(target, '?');
  for (const { name, route, pattern } of table) {
    const match = route.method === method ? pattern.exec(path) : null;
    if (match)
      return {
        name,
        route,
        params: decoded(match.groups ?? {}),
        query: Object.fromEntries(new URLSearchParams(search)),
      };
  }
  throw new BowlineError('BAD_REQUEST', `There is no ${method} ${path.slice(0, 200)} in the local API.`, {
    hint: `This daemon is ${productVersion} and speaks protocol ${protocolText}; GET /v1/openapi.json lists what it knows.`,
  });
}

function decoded(groups: Record<string, string>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([key, value]) => [key, decodeURIComponent(value)]));
  } catch {
    throw new BowlineError('BAD_REQUEST', 'The path is not encoded as it should be.');
  }
}

function splitOnce(text: string, at: string): [string, string | undefined] {
  const index = text.indexOf(at);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}
