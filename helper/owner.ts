/** Who has a port, for messages. Each platform answers in a file of its own; where none does, nobody is named. */
import { listener, portOwner as linux } from './owner-linux.ts';

export interface PortOwner {
  /** Absent when this process may not see it. */
  pid?: number;
  name?: string;
  uid?: number;
  /** The address it listens on, which may be the wildcard. */
  address: string;
}

type FindOwner = (address: string, port: number) => PortOwner | undefined;

const perPlatform: Partial<Record<NodeJS.Platform, FindOwner>> = { linux };

export function portOwner(platform: NodeJS.Platform, address: string, port: number): PortOwner | undefined {
  return perPlatform[platform]?.(address, port);
}

/** Whether a socket of this system listens there; `undefined` where the platform does not say. No connection is made. */
export function isListening(platform: NodeJS.Platform, address: string, port: number): boolean | undefined {
  return platform === 'linux' ? listener(address, port) !== undefined : undefined;
}

/** `taken by postgres (pid 812), which listens on 0.0.0.0:5432` */
export function takenBy(platform: NodeJS.Platform, address: string, port: number): string {
  const owner = portOwner(platform, address, port);
  if (owner === undefined) return `port ${port} is taken by another program`;
  const who =
    owner.name === undefined
      ? `a program of user ${owner.uid ?? 'unknown'}`
      : `${owner.name} (pid ${owner.pid ?? '?'})`;
  return `port ${port} is taken by ${who}, which listens on ${owner.address}:${port}`;
}
