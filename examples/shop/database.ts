/** The shop's two stores, found by their Service names. Connections are made on first use and made again when lost. */
import { Pool } from 'pg';
import { createClient } from 'redis';
import { say, setting } from './program.ts';

export function openPostgres(): Pool {
  const pool = new Pool({
    host: setting('PGHOST', 'postgres'),
    port: Number(setting('PGPORT', '5432')),
    user: setting('PGUSER'),
    password: setting('PGPASSWORD'),
    database: setting('PGDATABASE'),
    max: 5,
    connectionTimeoutMillis: 5000,
  });
  // A lost idle connection is replaced by the pool; without a listener it would end the program.
  pool.on('error', (error) => say('postgres', error.message));
  return pool;
}

export function openRedis() {
  const client = createClient({
    url: setting('REDIS_URL', 'redis://redis:6379'),
    disableOfflineQueue: true, // a request fails at once rather than waiting for a store that is away
    socket: { connectTimeout: 5000, reconnectStrategy: (tries) => Math.min(100 * 2 ** tries, 2000) },
  });
  client.on('error', (error: Error) => say('redis', error.message));
  // Fails only when it is closed before it was ever connected; until then it tries again by itself.
  client.connect().catch((error: Error) => say('redis', error.message));
  return client;
}
