/** What all programs of the shop have in common: a small JSON server that ends when it is told to. */
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import type { IncomingMessage } from 'node:http';

/** Answers JSON; throws `NotFound` for paths it does not know. */
export type Handler = (request: { method: string; url: URL; body: () => Promise<unknown> }) => Promise<unknown>;

export class NotFound extends Error {}

export interface ServeOptions {
  name: string;
  /** Used when PORT is not set. */
  port: number;
  handler: Handler;
  /** Says by throwing that a request would fail at the moment; GET /ready asks it. */
  ready?: () => Promise<unknown>;
  close?: () => Promise<unknown>;
}

/** Who answers: the pod. A program that bowline started on a developer's machine has its pod's name too. */
export const servedBy = hostname();

export function serve(options: ServeOptions): void {
  const port = Number(process.env['PORT'] ?? options.port);
  const server = createServer((request, response) => {
    const reply = (status: number, body: unknown): void => {
      const text = `${JSON.stringify(body)}\n`;
      response
        .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
        .end(text);
    };
    const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'localhost'}`);
    answer(options, { method: request.method ?? 'GET', url, body: () => readJson(request) }).then(
      (body) => reply(200, body),
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        reply(error instanceof NotFound ? 404 : 500, { error: message, service: options.name, servedBy });
      },
    );
  });
  server.listen(port, () => say(options.name, `listening on ${port}`));
  // As process 1 of a container there is no default action for a signal: without this, it would serve until it is killed.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      say(options.name, `${signal}: finishing open requests`);
      server.close(() => {
        options.close?.().catch((error: Error) => say(options.name, `while closing: ${error.message}`));
      });
    });
  }
}

async function answer(options: ServeOptions, request: Parameters<Handler>[0]): Promise<unknown> {
  if (request.url.pathname === '/healthz') return { status: 'ok' };
  if (request.url.pathname === '/ready') {
    await options.ready?.();
    return { status: 'ok' };
  }
  return await options.handler(request);
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString() || 'null');
}

/** A required setting; the same names in the pod and on the developer's machine. */
export function setting(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback;
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export function say(name: string, text: string): void {
  process.stdout.write(`${name}: ${text}\n`);
}
