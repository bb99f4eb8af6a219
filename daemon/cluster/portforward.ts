/**
 * One TCP connection to a port inside a pod, as a byte stream over a WebSocket (v4.channel.k8s.io): the way that also
 * works where the API server cannot reach pod addresses, because the kubelet carries it.
 *
 * The protocol cannot close one direction alone: end() sends what was written and then closes both.
 */
import { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { BowlineError } from '../../api/errors.ts';
import { pathOf, subjectOf } from './paths.ts';
import { pods } from './resources.ts';
import type { CallOptions } from './cluster.ts';
import type { Transport } from './transport/transport.ts';

export interface PodPort {
  namespace: string;
  name: string;
  port: number;
}

const dataChannel = 0;
const errorChannel = 1;
/** How much may wait in the WebSocket before writers have to. */
const maxBuffered = 1024 * 1024;

export async function portForward(transport: Transport, pod: PodPort, options: CallOptions = {}): Promise<Duplex> {
  const place = { namespace: pod.namespace, name: pod.name, subresource: 'portforward' };
  const ws = await transport.webSocket(
    {
      method: 'GET',
      path: pathOf(pods, place),
      // Over a WebSocket the verb is the one of the GET request.
      subject: subjectOf('get', pods, place),
      signal: options.signal,
      timeout: options.timeout,
    },
    ['v4.channel.k8s.io'],
    new URLSearchParams({ ports: String(pod.port) }),
  );
  return new PortForwardStream(ws, pod);
}

class PortForwardStream extends Duplex {
  readonly #ws: WebSocket;
  readonly #pod: PodPort;
  /** Each channel begins with the number of the port, two bytes that are not data. */
  readonly #prefixLeft = [2, 2];

  constructor(ws: WebSocket, pod: PodPort) {
    super({ allowHalfOpen: false, readableHighWaterMark: maxBuffered, writableHighWaterMark: maxBuffered });
    this.#ws = ws;
    this.#pod = pod;
    ws.on('message', (data: Buffer) => this.#onMessage(data));
    ws.on('close', (code) => this.#onClose(code));
    // Begins to receive, up to the high-water mark, so that a failure is noticed by those too who only write.
    this.read(0);
  }

  #onMessage(message: Buffer): void {
    const channel = message[0];
    if (channel !== dataChannel && channel !== errorChannel) return;
    const left = this.#prefixLeft[channel] ?? 0;
    const payload = message.subarray(1 + left);
    this.#prefixLeft[channel] = Math.max(0, left - (message.length - 1));
    if (payload.length === 0) return;
    if (channel === errorChannel) {
      this.destroy(
        new BowlineError(
          'PIPE_FAILED',
          `Port ${this.#pod.port} of pod "${this.#pod.name}" in namespace "${this.#pod.namespace}" cannot be reached: ${payload.toString('utf8').slice(0, 500)}`,
        ),
      );
    } else if (!this.push(payload)) this.#ws.pause();
  }

  #onClose(code: number): void {
    if (code === 1000 || this.writableEnded) {
      this.push(null);
      return;
    }
    const error = new Error(`The port-forward was cut (WebSocket code ${code}).`);
    this.destroy(Object.assign(error, { code: 'ECONNRESET' }));
  }

  override _read(): void {
    if (this.#ws.isPaused) this.#ws.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: (error?: Error | null) => void): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  #send(chunks: Buffer[], done: (error?: Error | null) => void): void {
    if (this.#ws.readyState !== WebSocket.OPEN) {
      done(Object.assign(new Error('The port-forward is closed.'), { code: 'EPIPE' }));
      return;
    }
    const message = Buffer.concat([Buffer.of(dataChannel), ...chunks]);
    const waits = this.#ws.bufferedAmount + message.length > maxBuffered;
    this.#ws.send(message, { binary: true }, waits ? (error) => done(error) : undefined);
    if (!waits) done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#ws.close(1000);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // After end() the closing handshake still has to flush what was written.
    if (error === null && this.writableFinished) this.#ws.resume();
    else this.#ws.terminate();
    done(error);
  }
}
