/**
 * What a hostile program of the user, and another user of the machine, may try on the helper: the real process, as root,
 * with a hosts file and folders of its own. Each test fails when the check that it is about is taken out.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { HostsFile } from './hosts.ts';
import type { JournalLine } from './journal.ts';
import { limits, type ApplyAnswer, type HelperAnswer } from './protocol.ts';
import { parseRequest, RequestError, screen } from './validate.ts';

const options = { skip: process.getuid?.() === 0 ? false : 'the helper needs root', timeout: 60_000 };
const user = 65_534;
const stranger = 12_345;
/** On a loopback network that other test runs share. */
const own = (last: number): string => `127.66.${process.pid % 250}.${last}`;
const original = '127.0.0.1 localhost\n10.9.8.7 other-host\n';
const hello = '{"id":1,"op":"hello","protocol":1}\n';

const cleanups: Array<() => void> = [];
after(() => cleanups.toReversed().forEach((cleanup) => cleanup()));

interface Place {
  folder: string;
  hosts: string;
  runDir: string;
  stateDir: string;
  socket: string;
  journal: string;
}

function place(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'bowline-attack-'));
  chmodSync(folder, 0o755);
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const hosts = join(folder, 'hosts');
  writeFileSync(hosts, original);
  const [runDir, stateDir] = [join(folder, 'run'), join(folder, 'state')];
  return {
    folder,
    hosts,
    runDir,
    stateDir,
    socket: join(runDir, String(user), 'helper.sock'),
    journal: join(stateDir, `${user}.journal`),
  };
}

/** A helper process that is up, or its complaint. */
async function start({ hosts, runDir, stateDir, journal }: Place): Promise<ChildProcess> {
  const args = ['--user', String(user), '--gid', String(user), '--redirects', 'off', '--hosts', hosts];
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'main.ts'), ...args, '--run-dir', runDir, '--state-dir', stateDir],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  cleanups.push(() => void child.kill('SIGKILL'));
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  await until('the helper is up', () => {
    if (child.exitCode !== null) throw new Error(`The helper ended: ${complaint}`);
    return existsSync(journal) && readFileSync(journal, 'utf8').includes('"started"');
  });
  return child;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 30_000; !condition();) {
    if (Date.now() > end) assert.fail(`waited in vain until ${what}`);
    await delay(10);
  }
}

interface Caller {
  socket: Socket;
  say(text: string): void;
  /** The next answer, or undefined when the helper has closed the connection. */
  answer(): Promise<HelperAnswer | undefined>;
}

async function call(here: Place): Promise<Caller> {
  const socket = connect(here.socket);
  cleanups.push(() => socket.destroy());
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  const lines = answersOf(socket);
  return {
    socket,
    say: (text) => void socket.write(text),
    async answer() {
      const { value } = await lines.next();
      return value ?? undefined;
    },
  };
}

async function* answersOf(socket: Socket): AsyncGenerator<HelperAnswer, void> {
  let pending = '';
  try {
    for await (const chunk of socket.setEncoding('utf8') as AsyncIterable<string>) {
      pending += chunk;
      const lines = pending.split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line) as HelperAnswer;
    }
  } catch {
    // closed with what was written still under way
  }
}

/** A caller that has said hello. */
async function greeted(here: Place): Promise<Caller> {
  const caller = await call(here);
  caller.say(hello);
  assert.equal((await caller.answer())?.ok, true);
  return caller;
}

const applyLine = (id: number, hosts: unknown, lowPorts: unknown = []): string =>
  `${JSON.stringify({ id, op: 'apply', desired: { hosts, lowPorts } })}\n`;

function auditOf(here: Place): JournalLine[] {
  return readFileSync(here.journal, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as JournalLine);
}

/** Runs a line of shell as that user; answers its exit status. */
async function as(uid: number, script: string): Promise<number | null> {
  const child = spawn('sh', ['-c', script], { uid, gid: uid, cwd: '/', stdio: 'ignore' });
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

/** Of a file that is not a link; undefined where there is none at the moment. */
function contentOf(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
  try {
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

const names = (here: Place): string => readFileSync(here.hosts, 'utf8');

void test(
  'another user cannot connect, read the journal, or put anything in the way; the served user cannot either, but connect',
  options,
  async () => {
    const here = place();
    await start(here);
    const folder = join(here.runDir, String(user));
    const attempts = [
      `rm -f ${here.socket}`,
      `mv ${here.socket} ${here.socket}.old`,
      `ln -sf /etc/passwd ${folder}/more`,
      `mv ${folder} ${folder}.old`,
      `mv ${here.runDir} ${here.runDir}.old`,
      `cat ${here.journal}`,
      `ls ${here.stateDir}`,
      `ln -s /etc/passwd ${here.stateDir}/${user}.hosts-copy`,
      `echo '6.6.6.6 github.com' >> ${here.hosts}`,
      `ln -sf /etc/passwd ${here.folder}/.hosts.bowline-${user}`,
      `mv ${here.stateDir} ${here.stateDir}.old`,
    ];
    for (const uid of [stranger, user])
      for (const attempt of attempts) assert.notEqual(await as(uid, attempt), 0, `user ${uid}: ${attempt}`);
    const connecting = `${process.execPath} -e "require('net').connect('${here.socket}').on('connect',()=>process.exit(0)).on('error',(e)=>process.exit(e.code==='EACCES'?13:1))"`;
    assert.equal(await as(stranger, connecting), 13);
    assert.equal(await as(user, connecting), 0);
    assert.equal(names(here), original);
  },
);

void test(
  'folders, links and files that somebody else prepared are refused at the start, and where a link leads is not touched',
  options,
  async () => {
    const prepared: Array<[prepare: (here: Place, victim: string) => void, complaint: RegExp]> = [
      [({ runDir, folder }) => symlinkSync(folder, runDir), /refusing to use it/],
      [
        ({ runDir }) => {
          mkdirSync(runDir);
          chownSync(runDir, stranger, stranger);
        },
        /refusing to use it/,
      ],
      [
        ({ runDir, folder }) => {
          mkdirSync(runDir);
          symlinkSync(folder, join(runDir, String(user)));
        },
        /refusing to use it/,
      ],
      [({ stateDir, folder }) => symlinkSync(folder, stateDir), /not a folder of this user/],
      [
        ({ stateDir }) => {
          mkdirSync(stateDir);
          chownSync(stateDir, stranger, stranger);
        },
        /not a folder of this user/,
      ],
      [
        ({ stateDir, journal }, victim) => {
          mkdirSync(stateDir);
          symlinkSync(victim, journal);
        },
        /ELOOP/,
      ],
      [
        ({ hosts }, victim) => {
          rmSync(hosts);
          symlinkSync(victim, hosts);
        },
        /symbolic link/,
      ],
    ];
    for (const [prepare, complaint] of prepared) {
      const here = place();
      const victim = join(here.folder, 'victim');
      writeFileSync(victim, 'untouched\n');
      prepare(here, victim);
      await assert.rejects(start(here), complaint, String(prepare));
      assert.equal(readFileSync(victim, 'utf8'), 'untouched\n');
    }
  },
);

void test('a link that lies where the socket is to be is replaced, not followed', options, async () => {
  const here = place();
  const victim = join(here.folder, 'victim');
  writeFileSync(victim, 'untouched\n', { mode: 0o600 });
  mkdirSync(join(here.runDir, String(user)), { recursive: true });
  symlinkSync(victim, here.socket);
  await start(here);
  await greeted(here);
  assert.equal(readFileSync(victim, 'utf8'), 'untouched\n');
});

void test(
  'the hosts file and its temporary one are swapped for links all the time: where they lead is neither read nor written',
  options,
  async () => {
    const { folder, hosts } = place();
    const copy = join(folder, 'copy');
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'secret of root\n', { mode: 0o600 });
    const theirs = join(folder, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, stranger, stranger);
    renameSync(hosts, join(theirs, 'hosts'));
    const path = join(theirs, 'hosts');
    const swap = `
    const fs = require('fs');
    const [link, file, path, temporary] = ${JSON.stringify([join(theirs, 'link'), join(theirs, 'file'), path, join(theirs, `.hosts.bowline-${user}`)])};
    for (let swaps = 0; ; swaps += 1) {
      if (swaps === 10) fs.writeSync(1, 'at it');
      try { fs.symlinkSync(${JSON.stringify(secret)}, temporary); } catch {}
      fs.symlinkSync(${JSON.stringify(secret)}, link);
      fs.renameSync(link, path);
      fs.writeFileSync(file, 'plain\\n');
      fs.renameSync(file, path);
    }`;
    const attacker = spawn(process.execPath, ['-e', swap], {
      uid: stranger,
      gid: stranger,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    cleanups.push(() => void attacker.kill('SIGKILL'));
    assert.equal(String((await once(attacker.stdout, 'data'))[0]), 'at it');
    const file = new HostsFile({ path, user, copy });
    const assertUntouched = (): void => {
      assert.equal(readFileSync(secret, 'utf8'), 'secret of root\n');
      for (const name of readdirSync(theirs)) {
        assert.doesNotMatch(contentOf(join(theirs, name)) ?? '', /secret/, name);
      }
    };
    const outcomes = new Set<string>();
    const metALink = (): boolean => outcomes.has('symbolic link') || outcomes.has('ELOOP');
    // Which of the two gets how much of the machine is not ours to say, so it goes on until a link was met.
    for (let round = 0; round < 5000 || (!metALink() && round < 20_000); round += 1) {
      try {
        file.apply(round % 2 === 0 ? [{ address: '127.66.0.1', names: ['redis'] }] : []);
        outcomes.add('written');
      } catch (error) {
        outcomes.add(/symbolic link|ELOOP|EEXIST|changed by another|ENOENT/.exec(String(error))?.[0] ?? String(error));
      }
      if (round % 100 !== 0) continue;
      await delay(0); // the end of the attacker is an event
      assert.equal(attacker.exitCode, null, 'the attacker is at it all the while');
      assertUntouched();
    }
    assert.equal(attacker.exitCode, null);
    assert.ok(metALink(), `a link was met and refused: ${[...outcomes].join(', ')}`);
    attacker.kill('SIGKILL');
    await once(attacker, 'exit');
    assertUntouched();
    for (const outcome of outcomes)
      assert.match(outcome, /^(written|symbolic link|ELOOP|EEXIST|changed by another|ENOENT)$/, 'nothing unforeseen');
  },
);

void test('a hosts file that is a pipe does not stop the helper', options, async () => {
  const { folder, hosts } = place();
  rmSync(hosts);
  assert.equal(await as(0, `mkfifo ${hosts}`), 0);
  const file = new HostsFile({ path: hosts, user, copy: join(folder, 'copy') });
  assert.throws(() => file.apply([]), /is not a file/);
});

void test(
  'names, addresses and ports that are not to be had are refused one by one, and no byte of them is written',
  options,
  async () => {
    const here = place();
    await start(here);
    const taken = createServer().listen(917, own(1));
    cleanups.push(() => taken.close());
    await once(taken, 'listening');
    const hostile = [
      'localhost',
      'github.com',
      'registry.npmjs.org',
      'other-host',
      'printer.local',
      'wpad',
      'a\n6.6.6.6 github.com',
      'a\r6.6.6.6 b',
      'a\u0000',
      'a\u001b[2J',
      'a # BEGIN bowline',
      'a\u2028b',
      'Ａ',
      '..',
      '-',
      'a b',
      'a\tgithub.com',
      '127.0.0.1',
      '0x7f',
      'a'.repeat(64),
      'a.'.repeat(200),
    ];
    const addresses = [
      '0.0.0.0',
      '127.0.0.1',
      '8.8.8.8',
      '::1',
      '127.66.0.0',
      '127.66.1.1\n6.6.6.6',
      '127.66.1.256',
      '',
    ];
    const ports = [0, -1, 1024, 65_536, 1e9];
    const caller = await greeted(here);
    caller.say(
      applyLine(
        2,
        [
          { address: own(2), names: [...hostile, 'redis'] },
          ...addresses.map((address, index) => ({ address, names: [`name-${index}`] })),
        ],
        [
          ...ports.map((port) => ({ address: own(2), port, targetPort: 20_000 })),
          { address: own(2), port: 81, targetPort: 22 },
          { address: '127.0.0.1', port: 82, targetPort: 20_000 },
          { address: own(1), port: 917, targetPort: 20_000 },
        ],
      ),
    );
    const answer = await caller.answer();
    assert.ok(answer?.ok);
    const { refused } = answer.result as ApplyAnswer;
    assert.equal(refused.length, hostile.length + addresses.length + ports.length + 3);
    assert.ok(refused.every(({ what, reason }) => [...(what + reason)].every((character) => character >= ' ')));
    assert.match(refused.at(-1)?.reason ?? '', /taken by .* \(pid \d+\), which listens on 127\.66\.\d+\.1:917/);
    const [begin = '', entry, end = '', ...rest] = names(here).slice(original.length).split('\n');
    assert.deepEqual(
      [begin.slice(0, 15), entry, end.slice(0, 13), rest],
      ['# BEGIN bowline', `${own(2)} redis`, '# END bowline', ['']],
    );
  },
);

void test(
  'no path, command, address or URL beyond the typed fields crosses: an unknown field is a refusal of the whole',
  options,
  async () => {
    const here = place();
    await start(here);
    const lines = [
      '{"id":2,"op":"run","command":"id"}',
      '{"id":2,"op":"release","path":"/etc/passwd"}',
      '{"id":2,"op":"apply","desired":{"hosts":[],"lowPorts":[],"hostsFile":"/etc/shadow"}}',
      '{"id":2,"op":"apply","desired":{"hosts":[{"address":"127.66.0.1","names":[],"url":"http://x"}],"lowPorts":[]}}',
      '{"id":2,"op":"apply","desired":{"hosts":[],"lowPorts":[{"address":"127.66.0.1","port":80,"targetPort":8080,"command":"sh"}]}}',
      '{"id":2,"op":"hello","protocol":1,"user":0}',
      '{"id":2,"op":"apply","desired":{"__proto__":{"hosts":[]},"hosts":[],"lowPorts":[]}}',
      '{"id":2,"op":"constructor"}',
    ];
    for (const line of lines) {
      const caller = await greeted(here);
      caller.say(`${line}\n`);
      const answer = await caller.answer();
      assert.equal(answer?.ok === false && answer.error.code, 'BAD_REQUEST', line);
      assert.equal(await caller.answer(), undefined, 'and the connection ends');
    }
    assert.equal(names(here), original);
  },
);

void test('after a refusal nothing more of that connection is done', options, async () => {
  const here = place();
  await start(here);
  const wanted = applyLine(2, [{ address: own(3), names: ['redis'] }]);
  for (const first of ['nonsense\n', '{"id":1,"op":"hello","protocol":99}\n', `${hello}nonsense\n`, wanted]) {
    const caller = await call(here);
    caller.say(`${first}${hello}${wanted}`);
    const answers: unknown[] = [];
    for (let answer = await caller.answer(); answer; answer = await caller.answer()) answers.push(answer.ok);
    assert.deepEqual(answers.at(-1), false, first);
  }
  const requests = auditOf(here).filter(({ operation }) => operation.startsWith('request:'));
  const last = new Map(requests.map(({ caller, refused }) => [caller, refused]));
  assert.deepEqual([...last.values()], ['BAD_REQUEST', 'WRONG_VERSION', 'BAD_REQUEST', 'BAD_REQUEST']);
  assert.equal(names(here), original);
});

void test('too many entries, a line without end, and a bomb of brackets are refused', options, async () => {
  const here = place();
  const helper = await start(here);
  const many = Array.from({ length: limits.names + 1 }, (_, index) => `n${index}`);
  const port = { address: '127.66.0.1', port: 80, targetPort: 8080 };
  const cases: Array<[line: string, code: string]> = [
    [applyLine(2, [{ address: '127.66.0.1', names: many }]), 'TOO_MUCH'],
    [
      applyLine(
        2,
        many.map((name) => ({ address: '127.66.0.1', names: [name] })),
      ),
      'TOO_MUCH',
    ],
    [
      applyLine(2, [
        { address: '127.66.0.1', names: many.slice(0, 15_000) },
        { address: '127.66.0.2', names: many.slice(5000) },
      ]),
      'TOO_MUCH',
    ],
    [
      applyLine(
        2,
        [],
        Array.from({ length: limits.lowPorts + 1 }, () => port),
      ),
      'TOO_MUCH',
    ],
    [`${'['.repeat(limits.requestBytes - 1)}\n`, 'BAD_REQUEST'],
    ['x'.repeat(limits.requestBytes + 1), 'TOO_MUCH'],
  ];
  for (const [line, code] of cases) {
    const caller = await greeted(here);
    caller.say(line);
    const answer = await caller.answer();
    assert.equal(answer?.ok === false && answer.error.code, code, line.slice(0, 80));
    caller.socket.destroy();
  }
  assert.equal(helper.exitCode, null);
  assert.equal(names(here), original);
});

void test('a caller that is silent, or never ends its line, is cut off', options, async () => {
  const here = place();
  await start(here);
  const silent = await call(here);
  const slow = await greeted(here);
  slow.say('{"id":2,"op":"rel');
  const fast = await greeted(here);
  assert.equal(await silent.answer(), undefined);
  assert.equal(await slow.answer(), undefined);
  fast.say('{"id":2,"op":"release"}\n');
  assert.equal((await fast.answer())?.ok, true, 'others are served all the while, and an idle one is kept');
});

void test('a caller that asks and never reads is cut off before it fills the memory', options, async () => {
  const here = place();
  await start(here);
  const bad = Array.from({ length: 19_000 }, (_, index) => `${index}.${'x'.repeat(50)}.com`);
  const line = applyLine(2, [{ address: '127.66.0.1', names: bad }]);
  const caller = await call(here);
  const closed = new Promise((resolve) => caller.socket.once('close', resolve));
  caller.socket.pause();
  caller.say(hello);
  // Each answer is larger than its question, so that these are many times what may lie unread.
  for (let asked = 0; asked < 40; asked += 1) caller.say(line);
  await closed;
  const answered = auditOf(here).filter(({ operation }) => operation === 'request:apply').length;
  assert.ok(answered < 40, `${answered} were answered`);
  await greeted(here);
});

void test('more connections than allowed are closed at once, and room is made when one goes', options, async () => {
  const here = place();
  await start(here);
  const callers: Caller[] = [];
  for (let index = 0; index < limits.clients; index += 1) callers.push(await greeted(here));
  const surplus = await call(here);
  surplus.say(hello);
  assert.equal(await surplus.answer(), undefined);
  callers.pop()?.socket.destroy();
  let room: HelperAnswer | undefined;
  for (const end = Date.now() + 30_000; room === undefined && Date.now() < end;) {
    const caller = await call(here);
    caller.say(hello);
    room = await caller.answer();
  }
  assert.equal(room?.ok, true);
});

void test('each request has its line in the audit, done or refused', options, async () => {
  const here = place();
  await start(here);
  const caller = await greeted(here);
  caller.say(applyLine(2, [{ address: own(4), names: ['redis', 'github.com'] }]));
  await caller.answer();
  const other = await greeted(here);
  other.say(applyLine(2, []));
  await other.answer();
  caller.say('{"id":3,"op":"release"}\n');
  await caller.answer();
  caller.say('{"id":4,"op":"run"}\n');
  await caller.answer();
  const lines = auditOf(here)
    .filter(({ operation }) => operation.startsWith('request:'))
    .map(({ operation, caller, refused }) => [operation.slice(8), caller, refused]);
  assert.deepEqual(lines, [
    ['hello', 1, undefined],
    ['apply', 1, undefined],
    ['hello', 2, undefined],
    ['apply', 2, 'HELD'],
    ['release', 1, undefined],
    ['unreadable', 1, 'BAD_REQUEST'],
  ]);
  const changes = auditOf(here).filter(({ operation }) => operation === 'hosts');
  assert.deepEqual(
    changes.map(({ phase, entries, refused }) => [phase, entries, refused]),
    [
      ['begin', 1, 1],
      ['done', undefined, undefined],
      ['begin', 0, 0],
      ['done', undefined, undefined],
    ],
  );
});

void test('fuzz: 20,000 mutations of requests are each a request or a refusal, and what is accepted stays in its bounds', () => {
  const random = generator(20_261_121);
  let requests = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const line = mutate(seeds[random(seeds.length)] ?? '', random);
    try {
      const request = parseRequest(line);
      requests += 1;
      if (request.op !== 'apply') continue;
      const { accepted } = screen(request.desired, {
        foreignNames: new Set(['other-host']),
        foreignAddresses: new Set(),
        hostname: 'vm',
        allowedSuffixes: [],
        anyPort: false,
      });
      for (const { address, names } of accepted.hosts)
        assert.match(`${address} ${names.join(' ')}`, /^127\.66\.\d{1,3}\.\d{1,3}( [a-z0-9][a-z0-9.-]*)+$/, line);
      for (const { port, targetPort } of accepted.lowPorts)
        assert.ok(port > 0 && port < 1024 && targetPort >= 1024 && targetPort <= 65_535, line);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
    }
  }
  assert.ok(requests > 1000, `${requests} were requests at all`);
});

void test(
  'fuzz: 300 connections of mutated requests leave the helper up and the rest of the hosts file as it was',
  options,
  async () => {
    const here = place();
    const helper = await start(here);
    const random = generator(42);
    for (let round = 0; round < 300; round += 1) {
      const caller = await call(here);
      const lines = Array.from({ length: 1 + random(4) }, () => mutate(seeds[random(seeds.length)] ?? '', random));
      caller.say(`${random(4) === 0 ? '' : hello}${lines.join('\n')}\n`);
      caller.socket.end();
      for (let answer = await caller.answer(); answer; answer = await caller.answer())
        assert.ok(answer.ok || ['BAD_REQUEST', 'WRONG_VERSION', 'TOO_MUCH', 'HELD'].includes(answer.error.code));
      const block = names(here).slice(original.length);
      assert.ok(names(here).startsWith(original));
      assert.match(
        block,
        /^(# BEGIN bowline.*\n(127\.66\.\d+\.\d+( [a-z0-9.-]+)+\n)+# END bowline.*\n)?$/,
        lines.join('\n'),
      );
    }
    assert.equal(helper.exitCode, null);
  },
);

const seeds = [
  '{"id":2,"op":"release"}',
  '{"id":1,"op":"hello","protocol":1}',
  '{"id":3,"op":"apply","desired":{"hosts":[],"lowPorts":[]}}',
  '{"id":3,"op":"apply","desired":{"hosts":[{"address":"127.66.0.1","names":["redis","redis.shop"]}],"lowPorts":[]}}',
  '{"id":4,"op":"apply","desired":{"hosts":[{"address":"127.66.9.7","names":["a","b.c"]},{"address":"127.66.9.8","names":["d.e.svc"]}],"lowPorts":[{"address":"127.66.0.1","port":1,"targetPort":80}]}}',
];

/** Numbers below a bound, the same at each run (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

const pieces = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '0',
  '-1',
  '1e99',
  'null',
  '\\n',
  '\\u0000',
  '\u0000',
  '\r',
  ' ',
  '127.0.0.1',
  'localhost',
  'github.com',
  '__proto__',
  '../',
  '\ud800',
  'é',
  '#',
  '65536',
];

/** One to three pieces deleted, inserted, doubled or replaced; about one in five stays whole. */
function mutate(line: string, random: (below: number) => number): string {
  let text = line;
  for (let times = random(5) === 0 ? 0 : 1 + random(3); times > 0; times -= 1) {
    const at = random(text.length + 1);
    const length = random(6);
    const piece = pieces[random(pieces.length)] ?? '';
    const middle = [piece, text.slice(at, at + length).repeat(2), ''][random(3)] ?? '';
    text = text.slice(0, at) + middle + text.slice(at + (random(2) === 0 ? 0 : length));
  }
  return text.replaceAll('\n', '');
}
