/** The daemon's end of the inbound tunnel as a process of its own, for tests that kill or stop it. Says `open` when it is. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dialTcp } from '../tunnel/dial.ts';
import { openInbound } from '../tunnel/inbound.ts';
import type { TunnelIdentity } from '../tunnel/tunnel.ts';
import type { AgentSession } from './contract.ts';
import { openPipe } from './testbed.ts';

const [folder = '', machine = ''] = process.argv.slice(2);
const session = JSON.parse(await readFile(join(folder, 'session.json'), 'utf8')) as AgentSession;
const identity = JSON.parse(await readFile(join(folder, 'daemon.json'), 'utf8')) as TunnelIdentity;
const pipe = await openPipe(session.address ?? '127.0.0.1', session.controlPort, 'inbound');
const tunnel = await openInbound(pipe, identity, { accept: ({ port }) => dialTcp({ host: machine, port }) });
process.stdout.write('open\n');
process.stdout.write(`${await tunnel.closed}\n`);
