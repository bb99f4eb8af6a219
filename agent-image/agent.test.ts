/** The agent program as a process, on loopback addresses, with the daemon's ends of the tunnels opposite. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import test from 'node:test';
import { text } from 'node:stream/consumers';
import { dialTcp } from '../tunnel/dial.ts';
import { makeIdentities } from '../tunnel/testbed.ts';
import { openOutbound } from '../tunnel/outbound.ts';
import { DialError } from '../tunnel/tunnel.ts';
import type { AgentCalls, AgentPort, AgentStatus } from './contract.ts';
import {
  connectInbound,
  connectOutbound,
  connectTo,
  errnoOf,
  get,
  openPipe,
  ownAddresses,
  runAgent,
  serveName,
  serveNobody,
} from './testbed.ts';

const port = 8080;
const machinePort: AgentPort = { port, protocol: 'TCP', to: 'machine', ifDown: 'refuse' };
const machineAddress = { host: '127.77.0.9', port };

void test('a machine port goes to the machine while there is a tunnel, and to the originals while there is none', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using _machine = await serveName('machine', machineAddress.host, port);
  await using agent = await runAgent([machinePort], { address, originals });
  assert.equal(await get(address, port), 'original');
  const requests: unknown[] = [];
  const tunnel = await connectInbound(agent, (request) => {
    requests.push(request);
    return dialTcp(machineAddress);
  });
  assert.equal(await get(address, port), 'machine');
  assert.match(JSON.stringify(requests), /^\[\{"port":8080,"peer":"127\.0\.0\.1:\d+"\}\]$/);
  await tunnel.close();
  assert.equal(await get(address, port), 'original');
});

void test('what a caller has said goes to the originals when the machine vanishes before its answer', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using agent = await runAgent([machinePort], { address, originals });

  const dialled = Promise.withResolvers<void>();
  const never = await connectInbound(agent, () => {
    dialled.resolve();
    return new Promise(() => {});
  });
  const unanswered = get(address, port, 'POST');
  await dialled.promise;
  await never.close();
  assert.equal(await unanswered, 'original', 'never established: safe whatever it said');

  await using silent = await serveSilence();
  const established = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: silent.port }));
  const reading = get(address, port, 'GET');
  const writing = errnoOf(get(address, port, 'POST'));
  await silent.heard(2);
  await established.close();
  assert.equal(await reading, 'original', 'a GET may be said again');
  assert.equal(await writing, 'ECONNRESET', 'a POST that the machine may have heard must not');
});

void test('refused by the machine: reset, or on to the originals, as asked', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using _other = await serveName('original', originals, port + 1);
  await using agent = await runAgent([machinePort, { ...machinePort, port: port + 1, ifDown: 'original' }], {
    address,
    originals,
  });
  await using _tunnel = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: 1 }));
  assert.equal(await errnoOf(get(address, port)), 'ECONNRESET');
  assert.equal(await get(address, port + 1), 'original');
});

void test('a machine that does not want a connection now (unreachable): the originals have it, and it again where there are none', async () => {
  const { agent: address, originals } = ownAddresses();
  await using agent = await runAgent([machinePort], { address, originals });
  let wanted = false;
  let asked = 0;
  let onAsked: ((times: number) => void) | undefined;
  await connectInbound(agent, () => {
    asked += 1;
    onAsked?.(asked);
    if (!wanted) throw new DialError('EHOSTUNREACH', 'the program does not listen yet');
    return dialTcp(machineAddress);
  });
  {
    await using _original = await serveName('original', originals, port);
    assert.equal(await get(address, port, 'POST'), 'original');
  }
  // The originals are stopped: the caller waits until the program listens.
  const again = Promise.withResolvers<void>();
  onAsked = (times) => void (times === 3 && again.resolve());
  const waiting = get(address, port, 'POST');
  await again.promise;
  await using _machine = await serveName('machine', machineAddress.host, port);
  wanted = true;
  assert.equal(await waiting, 'machine');
});

void test('originals that refuse for a moment are asked again: a Service still leads to one that is gone', async () => {
  const { agent: address, originals } = ownAddresses();
  const passedOn: AgentPort = { port: port + 1, protocol: 'TCP', to: 'originals', ifDown: 'refuse' };
  await using agent = await runAgent([machinePort, passedOn], { address, originals });
  await using _tunnel = await connectInbound(agent, () => dialTcp(machineAddress));
  await using control = await connectOutbound(agent);
  await control.call('drain', {});
  const waiting = [get(address, port), get(address, port + 1)];
  while (((await control.call('status', {})) as AgentStatus).waiting < 2);
  await using _original = await serveName('original', originals, port);
  await using _beside = await serveName('beside', originals, port + 1);
  assert.deepEqual(await Promise.all(waiting), ['original', 'beside']);
});

void test('drained, the machine answers as long as no original does: a Service still leads to one that is gone', async () => {
  const { agent: address, originals, machine } = ownAddresses();
  await using _machine = await serveName('machine', machine, port);
  await using agent = await runAgent([machinePort], { address, originals });
  await using _tunnel = await connectInbound(agent, () => dialTcp({ host: machine, port }));
  await using control = await connectOutbound(agent);
  await control.call('drain', {});
  assert.equal(await get(address, port, 'POST'), 'machine', 'the originals refuse');
  {
    await using _silent = await serveNobody(originals, port);
    assert.equal(await get(address, port, 'POST'), 'machine', 'the originals do not answer a dial');
  }
  await using _original = await serveName('original', originals, port);
  assert.equal(await get(address, port, 'POST'), 'original');
});

void test('a port where no original listens is refused after a moment, not after the patience with a machine', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _agent = await runAgent([{ ...machinePort, to: 'originals' }], { address, originals });
  await assert.rejects(get(address, port), /ECONNRESET|socket hang up/);
});

void test('a refusal is never taken for an answer, however its frames arrive', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using agent = await runAgent([{ ...machinePort, ifDown: 'original' }], { address, originals });
  await connectInbound(agent, () => dialTcp({ host: '127.77.0.9', port: 1 }));
  for (let round = 0; round < 150; round++) assert.equal(await get(address, port), 'original');
});

void test('stopped originals: a caller waits for the machine to come back', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _machine = await serveName('machine', machineAddress.host, port);
  await using agent = await runAgent([machinePort], { address, originals });
  const waiting = get(address, port);
  await connectInbound(agent, () => dialTcp(machineAddress));
  assert.equal(await waiting, 'machine');
});

void test('without originals a caller waits for the machine to come back', async () => {
  const { agent: address } = ownAddresses();
  await using _machine = await serveName('machine', machineAddress.host, port);
  await using agent = await runAgent([machinePort], { address });
  const waiting = get(address, port);
  await using control = await connectOutbound(agent);
  while (((await control.call('status', {})) as AgentStatus).quiet > 60_000);
  await using _tunnel = await connectInbound(agent, () => dialTcp(machineAddress));
  assert.equal(await waiting, 'machine');
});

void test('drain sends new connections to the originals and lets open ones go on', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using silent = await serveSilence();
  await using agent = await runAgent([machinePort], { address, originals });
  await using _tunnel = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: silent.port }));
  await using control = await connectOutbound(agent);
  const open = await connectTo(address, port);
  open.write('hello');
  await silent.heard(1);
  const drained = (await control.call('drain', {})) as AgentStatus;
  assert.deepEqual([drained.machine, drained.machineTotal, drained.originals], [1, 1, 0]);
  assert.equal(await get(address, port), 'original');
  silent.sockets[0]?.write('still here');
  assert.equal(String((await once(open, 'data'))[0]), 'still here');
  open.destroy();
  await control.call('resume', {});
  const again = await connectTo(address, port);
  again.write('x');
  await silent.heard(2);
  again.destroy();
});

void test('UDP goes to the originals and back, caller by caller', async () => {
  const { agent: address, originals } = ownAddresses();
  const echo = dgram.createSocket('udp4').bind(port, originals);
  await once(echo, 'listening');
  echo.on('message', (message, from) => echo.send(`echo ${message.toString()}`, from.port, from.address));
  await using _agent = await runAgent([{ port, protocol: 'UDP', to: 'originals', ifDown: 'refuse' }], {
    address,
    originals,
  });
  const callers = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
  try {
    for (const round of [1, 2]) {
      const answers = await Promise.all(
        callers.map(async (caller, index) => {
          caller.send(`${index} ${round}`, port, address);
          return String((await once(caller, 'message', { signal: AbortSignal.timeout(5_000) }))[0]);
        }),
      );
      assert.deepEqual(answers, [`echo 0 ${round}`, `echo 1 ${round}`]);
    }
  } finally {
    for (const socket of [echo, ...callers]) socket.close();
  }
});

void test('a probe arrives only when it comes back through this agent and the machine', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using agent = await runAgent([machinePort], { address, originals });
  await using control = await connectOutbound(agent);
  const probe = (host: string, timeout = 3_000) =>
    control.call('probe', { host, port, timeout }) as Promise<AgentCalls['probe']['answer']>;

  const without = await probe(address);
  assert.equal(without.arrived, false);
  assert.match(without.detail, /there is no tunnel/);
  const tunnel = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: 1 }));
  assert.deepEqual(await probe(address), { arrived: true, detail: 'arrived' });
  const elsewhere = await probe(originals);
  assert.equal(elsewhere.arrived, false);
  assert.match(elsewhere.detail, /HTTP\/1\.1 200 OK/);
  const nowhere = await probe('127.77.0.1');
  assert.match(nowhere.detail, /ECONNREFUSED/);
  // The one that proved lets go of its connection before it has read the whole answer.
  for (let n = 0; n < 20; n += 1) await probe(address);
  assert.deepEqual(agent.log.filter(({ event }) => event === 'error').slice(0, 1), []);
  await tunnel.close();
});

void test('while a probe is under way other connections are served, also where the server speaks first', async () => {
  const { agent: address, originals } = ownAddresses();
  await using speaker = await serveSilence((socket) => socket.end('welcome'));
  await using silent = await serveSilence();
  await using agent = await runAgent([machinePort], { address, originals });
  await using control = await connectOutbound(agent);
  await using _tunnel = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: speaker.port }));
  const probing = control.call('probe', { host: '127.0.0.1', port: silent.port, timeout: 2_000 });
  await silent.heard(1);
  const caller = await connectTo(address, port);
  assert.equal(await text(caller), 'welcome');
  caller.end();
  assert.deepEqual(await probing, { arrived: false, detail: 'no answer within 2000 ms' });
});

void test('a newer inbound tunnel takes over, the older one serves its streams until it ends', async () => {
  const { agent: address, originals } = ownAddresses();
  await using silent = await serveSilence();
  await using _machine = await serveName('machine', machineAddress.host, port);
  await using agent = await runAgent([machinePort], { address, originals });
  const older = await connectInbound(agent, () => dialTcp({ host: '127.0.0.1', port: silent.port }));
  const open = await connectTo(address, port);
  open.write('hello');
  await silent.heard(1);
  await using _newer = await connectInbound(agent, () => dialTcp(machineAddress));
  assert.equal(await get(address, port), 'machine');
  silent.sockets[0]?.write('older');
  assert.equal(String((await once(open, 'data'))[0]), 'older');
  await older.close();
  assert.equal(await errnoOf(once(open, 'data')), 'ECONNRESET');
  assert.equal(await get(address, port), 'machine');
});

void test('a port that is taken is a problem in the status, and the rest works', async () => {
  const { agent: address, originals } = ownAddresses();
  await using _original = await serveName('original', originals, port);
  await using _taken = await serveName('taken', address, port + 1);
  await using agent = await runAgent([machinePort, { ...machinePort, port: port + 1 }], { address, originals });
  await using control = await connectOutbound(agent);
  const { problems } = (await control.call('status', {})) as AgentStatus;
  assert.deepEqual(
    problems.map((problem) => problem.port),
    [port + 1],
  );
  assert.match(problems[0]?.reason ?? '', /EADDRINUSE/);
  assert.equal(await get(address, port), 'original');
});

void test('the control port says nothing to strangers', async () => {
  const { agent: address } = ownAddresses();
  await using agent = await runAgent([], { address });
  const control = agent.session.controlPort;
  assert.equal(await get(address, control).then((body) => body), '');
  await assert.rejects(openPipe(address, control, 'elsewhere'), /answered 404/);
  await assert.rejects(openPipe(address, control, 'outbound', 'h2c'), /answered 404/);
  const stranger = await makeIdentities();
  const pipe = await openPipe(address, control, 'outbound');
  const opening = openOutbound(pipe, { ...stranger.daemon, peerCert: agent.identities.agent.cert });
  const closed = await opening.then(
    (tunnel) => tunnel.closed,
    (error: Error) => error.message,
  );
  assert.ok(closed);
  await using proper = await openOutbound(
    await openPipe(address, control, 'outbound', 'websocket'),
    agent.identities.daemon,
  );
  assert.equal(((await proper.call('status', {})) as AgentStatus).machine, 0);
  await assert.rejects(proper.call('toString', {}), /knows no call/);
});

void test('SIGTERM: idle it exits at once with 0; with an open connection it lets it finish', async () => {
  const { agent: address, originals } = ownAddresses();
  await using silent = await serveSilence(undefined, originals, port);
  await using idle = await runAgent([machinePort], { address, originals });
  const before = performance.now();
  idle.process.kill('SIGTERM');
  assert.equal(await idle.exited, 0);
  assert.ok(performance.now() - before < 500);

  await using busy = await runAgent([machinePort], { address, originals });
  const open = await connectTo(address, port);
  open.write('hello');
  await silent.heard(1);
  busy.process.kill('SIGTERM');
  while (!busy.log.some(({ event }) => event === 'stopping')) await once(busy.process.stdout!, 'data');
  silent.sockets[0]?.end('finished');
  assert.equal(await text(open), 'finished');
  open.end();
  assert.equal(await busy.exited, 0);
});

void test('environment and names as the pod has them', async () => {
  const { agent: address } = ownAddresses();
  await using agent = await runAgent([], { address }, { SHOP: 'open', NODE_VERSION: '24' });
  await using control = await connectOutbound(agent);
  const { variables } = (await control.call('environment', {})) as AgentCalls['environment']['answer'];
  const known = Object.entries(variables).filter(([name]) => name !== 'BOWLINE_SESSION_FOLDER');
  assert.deepEqual(Object.fromEntries(known), { SHOP: 'open', NODE_VERSION: '24' });
  const { addresses } = (await control.call('resolve', { name: 'localhost' })) as AgentCalls['resolve']['answer'];
  assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'));
  assert.deepEqual(
    ((await control.call('resolve', { name: 'nowhere.invalid' })) as AgentCalls['resolve']['answer']).addresses,
    [],
  );
});

/** Takes connections and says nothing, unless told to; `heard` waits for the first bytes of so many. */
async function serveSilence(onConnection?: (socket: import('node:net').Socket) => void, host?: string, port?: number) {
  const { listen } = await import('../tunnel/testbed.ts');
  const sockets: import('node:net').Socket[] = [];
  const waiting: (() => void)[] = [];
  let heard = 0;
  const server = await listen(
    (socket) => {
      sockets.push(socket);
      socket.once('data', () => {
        heard += 1;
        for (const tell of waiting) tell();
      });
      onConnection?.(socket);
    },
    host,
    port,
  );
  return Object.assign(server, {
    sockets,
    heard: (count: number) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (heard >= count) resolve();
        };
        waiting.push(look);
        look();
      }),
  });
}
