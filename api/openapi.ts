/** The route table as OpenAPI 3.1, for programs that are not ours. */
import * as z from 'zod/mini';
import { routes, type Route } from './routes.ts';
import { ErrorAnswer } from './schema.ts';
import { productVersion, protocol } from './version.ts';

export function openApi(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [name, route] of Object.entries<Route>(routes)) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(name, route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Bowline local API',
      version: `${protocol.major}.${protocol.minor}`,
      description: `Spoken by the daemon of Bowline ${productVersion} over a Unix socket or a named pipe of the user.`,
    },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    paths,
  };
}

function operation(name: string, route: Route): Record<string, unknown> {
  const type = route.kind === 'one' ? 'application/json' : 'application/x-ndjson';
  return {
    operationId: name,
    summary: route.summary,
    parameters: [...pathParameters(route.path), ...queryParameters(route)],
    ...(route.body && {
      requestBody: { required: true, content: { 'application/json': { schema: schema(route.body, 'input') } } },
    }),
    responses: {
      200: {
        description: route.kind === 'one' ? 'The answer' : 'One JSON value a line',
        content: { [type]: { schema: schema(route.answer, 'output') } },
      },
      default: { description: 'An error', content: { 'application/json': { schema: schema(ErrorAnswer, 'output') } } },
    },
  };
}

function pathParameters(path: string): unknown[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(route: Route): unknown[] {
  if (!route.query) return [];
  const described = schema(route.query, 'output') as { properties?: Record<string, unknown> };
  return Object.entries(described.properties ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema,
  }));
}

function schema(of: z.ZodMiniType, io: 'input' | 'output'): unknown {
  const { $schema: _, ...rest } = z.toJSONSchema(of, { io, unrepresentable: 'any' });
  return rest;
}
