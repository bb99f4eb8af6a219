import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failure, json, startTestServer, transportTo } from './testing/apiserver.ts';
import { pods } from './resources.ts';
import { defaultTiming, listAll, watchAll } from './watch.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { V1Pod } from '@kubernetes/client-node';
import type { WatchEvent } from './cluster.ts';
import type { Transport } from './transport/transport.ts';

const fast = { ...defaultTiming, firstDelay: 5, maxDelay: 20 };

function pod(name: string, resourceVersion: string): V1Pod {
  return { metadata: { name, resourceVersion } };
}

function list(resourceVersion: string, ...names: string[]): unknown {
  return { kind: 'PodList', metadata: { resourceVersion }, items: names.map((name) => pod(name, resourceVersion)) };
}

function line(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

type Step = (request: URL, response: ServerResponse) => void;

const refuse: Step = (_url, response) => failure(response, 500, 'InternalError', 'boom');

const page =
  (next: string | undefined, ...names: string[]): Step =>
  (_url, response) =>
    json(response, 200, {
      metadata: { resourceVersion: '10', continue: next },
      items: names.map((name) => pod(name, '1')),
    });

/** A server that takes one step per request, and what it was asked. */
async function startSteps(...steps: Step[]) {
  const asked: string[] = [];
  const server = await startTestServer((request: IncomingMessage, response) => {
    const url = new URL(request.url ?? '', 'https://x');
    const { searchParams: query } = url;
    asked.push(
      query.has('watch')
        ? `watch ${query.get('resourceVersion')}`
        : `list${query.has('continue') ? ` ${query.get('continue')}` : ''}`,
    );
    // With nothing left to do it is a watch that stays open.
    const step = steps.shift() ?? ((_url, open) => open.writeHead(200).flushHeaders());
    step(url, response);
  });
  const transport = await transportTo(server);
  return {
    asked,
    server,
    transport,
    async [Symbol.asyncDispose]() {
      transport[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** What the watch says, shortened, until so many things were said, or this one. */
async function follow(transport: Transport, until: number | string, timing = fast): Promise<string[]> {
  const abort = new AbortController();
  const said: string[] = [];
  const bound = AbortSignal.timeout(10_000);
  const signal = AbortSignal.any([abort.signal, bound]);
  try {
    for await (const event of watchAll(transport, pods, { namespace: 'shop', signal }, timing)) {
      said.push(short(event));
      if (said.length === until || said.at(-1) === until) abort.abort(new Error('enough'));
    }
  } catch (error) {
    assert.equal(error instanceof Error && error.message, 'enough', said.join('; '));
  }
  return said;
}

function short(event: WatchEvent<V1Pod>): string {
  if (event.type === 'trouble') return `trouble: ${event.reason}`;
  return `${event.type} ${(event.type === 'reset' ? event.objects : [event.object]).map(({ metadata }) => metadata?.name).join(' ')}`;
}

test('goes on from the last bookmark when the server ends a watch in good order', async () => {
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10', 'a')),
    (url, response) => {
      assert.equal(url.searchParams.get('allowWatchBookmarks'), 'true');
      const seconds = Number(url.searchParams.get('timeoutSeconds'));
      assert.ok(seconds >= 240 && seconds <= 300, String(seconds));
      response.end(line('ADDED', pod('b', '11')) + line('BOOKMARK', pod('', '50')));
    },
    (_url, response) => response.write(line('DELETED', pod('a', '51'))),
  );
  assert.deepEqual(await follow(steps.transport, 3), ['reset a', 'added b', 'deleted a']);
  assert.deepEqual(steps.asked, ['list', 'watch 10', 'watch 50']);
});

test('410, as an answer and as an event: everything is listed again', async () => {
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10', 'a')),
    (_url, response) => failure(response, 410, 'Expired', 'too old resource version'),
    (_url, response) => json(response, 200, list('20', 'b')),
    (_url, response) =>
      response.end(line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' })),
    (_url, response) => json(response, 200, list('30', 'c')),
  );
  const said = await follow(steps.transport, 5);
  assert.deepEqual(
    said.filter((each) => !each.startsWith('trouble')),
    ['reset a', 'reset b', 'reset c'],
  );
  assert.deepEqual(steps.asked.slice(0, 5), ['list', 'watch 10', 'list', 'watch 20', 'list']);
});

test('a line that is not JSON is reported, unquoted, and what it may have said is listed', async () => {
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10')),
    (_url, response) =>
      response.write(`${line('ADDED', pod('a', '11'))}{"type":"MODI s3cr3t\n${line('ADDED', pod('x', '12'))}`),
    (_url, response) => json(response, 200, list('20', 'a', 'b')),
  );
  const said = await follow(steps.transport, 4);
  assert.deepEqual([said[0], said[1], said[3]], ['reset ', 'added a', 'reset a b']);
  assert.match(said[2] ?? '', /^trouble: .*not JSON/);
  assert.doesNotMatch(said[2] ?? '', /s3cr3t/);
});

test('cut in the middle of a line: goes on from the last whole one', async () => {
  const cut = line('ADDED', pod('b', '12')).slice(0, 20);
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10')),
    (_url, response) => {
      response.write(line('ADDED', pod('a', '11')) + cut, () => response.socket?.destroy());
    },
    // Ended in good order, as a proxy does that goes away.
    (_url, response) => response.end(cut),
    (_url, response) => response.write(line('ADDED', pod('b', '12'))),
  );
  const said = await follow(steps.transport, 5);
  assert.deepEqual([said[0], said[1], said[4]], ['reset ', 'added a', 'added b']);
  assert.match(said[2] ?? '', /^trouble/);
  assert.match(said[3] ?? '', /^trouble: .*middle of a line/);
  assert.deepEqual(steps.asked, ['list', 'watch 10', 'watch 11', 'watch 11']);
});

test('a character that is cut in two stays whole', async () => {
  const bytes = Buffer.from(line('ADDED', pod('ä', '11')));
  const middle = bytes.indexOf('ä') + 1;
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10')),
    (_url, response) => {
      response.write(bytes.subarray(0, middle), () => setImmediate(() => response.write(bytes.subarray(middle))));
    },
  );
  assert.deepEqual(await follow(steps.transport, 2), ['reset ', 'added ä']);
});

test('never gives up, whatever the server says, and waits longer each time', async () => {
  await using steps = await startSteps(refuse, refuse, refuse, refuse, refuse, (_url, response) =>
    json(response, 200, list('10', 'a')),
  );
  const said = await follow(steps.transport, 6, { ...fast, firstDelay: 1, maxDelay: 4 });
  assert.ok(
    said.slice(0, 5).every((each) => /^trouble: .*boom/.test(each)),
    said.join('; '),
  );
  assert.equal(said[5], 'reset a');
});

test('a watch that stays silent beyond its time is given up and made again', async () => {
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10', 'a')),
    (_url, response) => response.writeHead(200).flushHeaders(),
    // Each may be given up too, where everything is slow.
    ...Array.from({ length: 50 }, (): Step => (_url, response) => response.write(line('ADDED', pod('b', '11')))),
  );
  // A "time" of nothing, so that the margin alone counts.
  const said = await follow(steps.transport, 'added b', { ...fast, serverTimeout: 0, margin: 50 });
  assert.equal(said[0], 'reset a');
  assert.match(said[1] ?? '', /^trouble: .*silent/);
});

test('an abort ends it at once, also while it waits', async () => {
  await using steps = await startSteps((_url, response) => json(response, 200, list('10')));
  const abort = new AbortController();
  const events = watchAll(steps.transport, pods, { signal: abort.signal }, fast);
  await events.next();
  const next = events.next();
  abort.abort(new Error('enough'));
  await assert.rejects(next, /enough/);
  await using dead = await startSteps((_url, response) => failure(response, 500, 'InternalError', 'boom'));
  const again = new AbortController();
  const waiting = watchAll(
    dead.transport,
    pods,
    { signal: again.signal },
    { ...fast, firstDelay: 60_000, maxDelay: 60_000 },
  );
  await waiting.next();
  const never = waiting.next();
  again.abort(new Error('enough'));
  await assert.rejects(never, /enough/);
});

test('a consumer that leaves closes the connection', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using steps = await startSteps(
    (_url, response) => json(response, 200, list('10')),
    (_url, response) => {
      response.write(line('ADDED', pod('a', '11')));
      response.on('close', resolve);
    },
  );
  const abort = new AbortController();
  for await (const event of watchAll(steps.transport, pods, { signal: abort.signal }, fast))
    if (event.type === 'added') break;
  await promise;
});

test('a list in pages is whole, and starts over in one piece when its snapshot is gone', async () => {
  await using steps = await startSteps(page('p2', 'a', 'b'), page('', 'c'));
  const whole = await listAll(steps.transport, pods, {}, 2);
  assert.deepEqual(
    whole.objects.map(({ metadata }) => metadata?.name),
    ['a', 'b', 'c'],
  );
  await using broken = await startSteps(
    page('p2', 'a', 'b'),
    (_url, response) => failure(response, 410, 'Expired', 'gone'),
    (url, response) => {
      assert.equal(url.searchParams.get('limit'), null);
      json(response, 200, list('20', 'x'));
    },
  );
  const restarted = await listAll(broken.transport, pods, {}, 2);
  assert.deepEqual([restarted.objects.length, restarted.resourceVersion], [1, '20']);
});

test('a long pause ends when the server can be reached again', async () => {
  const cut: Step = (_url, response) => void response.socket?.destroy();
  await using steps = await startSteps(
    cut,
    (_url, response) => json(response, 200, {}),
    (_url, response) => json(response, 200, list('10', 'a')),
  );
  const abort = new AbortController();
  const watch = watchAll(
    steps.transport,
    pods,
    { namespace: 'shop', signal: abort.signal },
    { ...fast, firstDelay: 3_600_000, maxDelay: 3_600_000 },
  );
  assert.equal((await watch.next()).value?.type, 'trouble');
  const next = watch.next();
  await steps.transport.json({
    method: 'GET',
    path: '/readyz',
    subject: { verb: 'get', group: '', resource: 'readyz' },
  });
  assert.equal((await next).value?.type, 'reset');
  abort.abort(new Error('enough'));
  await assert.rejects(watch.next(), /enough/);
});
