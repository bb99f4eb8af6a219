/**
 * The images that every test may use. They stand for well-known ones and keep their habits: `node` runs as root by
 * default and has a user `node` (1000); PostgreSQL and Redis are Debian's own programs, not imitations.
 */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pauseImage } from './configuration.ts';
import { addBase, addFolder, addLibraries, addProgram, addShell, fingerprint } from './rootfs.ts';
import type { Image, Layer } from './images.ts';

/** Stands for docker.io/library/node:24. */
export const nodeImage = 'bowline.test/node:24';
const nodeProgram = process.execPath;

export const nodeLayer: Layer = {
  name: 'node',
  // When it is asked for: on a new machine busybox is installed after this file is loaded.
  get inputs() {
    return [1, fingerprint([nodeProgram, '/bin/busybox'])];
  },
  async fill(root) {
    addBase(root, { node: 1000 });
    await addProgram(root, nodeProgram, 'usr/local/bin/node');
    await addShell(root);
  },
};

export function stockImages(pauseProgram: string): Image[] {
  return [pause(pauseProgram), distroless(pauseProgram), node(), redis(), postgres()];
}

export function node(): Image {
  return {
    name: nodeImage,
    layers: [nodeLayer],
    config: { Cmd: ['node'], Env: [`NODE_VERSION=${process.versions.node}`] },
  };
}

function pause(program: string): Image {
  return { name: pauseImage, layers: [oneProgram(program)], config: { Entrypoint: ['/pause'], User: '65535:65535' } };
}

/** Stands for the images of gcr.io/distroless: one static program, variables, a user that is not root, and nothing that could be run. */
export const distrolessImage = 'bowline.test/distroless:1';

function distroless(program: string): Image {
  const Env = ['SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt', 'LOG_LEVEL=of the image'];
  return {
    name: distrolessImage,
    layers: [oneProgram(program)],
    config: { Entrypoint: ['/pause'], User: '65532:65532', Env },
  };
}

function oneProgram(program: string): Layer {
  return {
    name: 'pause',
    inputs: fingerprint([program]),
    async fill(root) {
      copyFileSync(program, join(root, 'pause'));
    },
  };
}

function redis(): Image {
  const programs = ['/usr/bin/redis-server', '/usr/bin/redis-cli'];
  const layer: Layer = {
    name: 'redis',
    inputs: [1, fingerprint(programs)],
    async fill(root) {
      addBase(root, { redis: 999 });
      for (const program of programs) await addProgram(root, program, program);
      await addShell(root);
      mkdirSync(join(root, 'data'));
    },
  };
  return {
    name: 'bowline.test/redis:7',
    layers: [layer],
    config: {
      Cmd: ['redis-server', '--protected-mode', 'no', '--save', '', '--appendonly', 'no'],
      User: '999:999',
      WorkingDir: '/data',
    },
  };
}

/** Where Debian puts PostgreSQL: /usr/lib/postgresql/VERSION; the newest one that is there. */
function postgresVersion(): string {
  const versions = readdirSync('/usr/lib/postgresql').map(Number).filter(Number.isInteger);
  return String(Math.max(...versions));
}

/** As the well-known image: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, and *.sql of one folder at first start. */
const postgresEntrypoint = `#!/bin/sh
set -eu
: "\${PGDATA:=/var/lib/postgresql/data}" "\${POSTGRES_USER:=postgres}" "\${POSTGRES_PASSWORD:?must be set}"
: "\${POSTGRES_DB:=$POSTGRES_USER}"
export PGDATA
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 --no-locale --no-sync > /tmp/initdb.log
  rm /tmp/password
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  [ "$POSTGRES_DB" = postgres ] || echo "CREATE DATABASE \\"$POSTGRES_DB\\";" | postgres --single -j postgres > /dev/null
  for file in /docker-entrypoint-initdb.d/*.sql; do
    [ ! -f "$file" ] || postgres --single -j "$POSTGRES_DB" < "$file" > /dev/null
  done
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
`;

function postgres(): Image {
  const version = postgresVersion();
  const home = `/usr/lib/postgresql/${version}`;
  const programs = ['postgres', 'initdb', 'psql', 'pg_isready'].map((name) => `${home}/bin/${name}`);
  const share = `/usr/share/postgresql/${version}`;
  const libraries = ['plpgsql.so', 'dict_snowball.so'].map((name) => `${home}/lib/${name}`);
  const layer: Layer = {
    name: 'postgres',
    inputs: [1, postgresEntrypoint, fingerprint([...programs, ...libraries])],
    async fill(root) {
      addBase(root, { postgres: 999 });
      // postgres finds its other files from the place it lies in, so all stay where Debian has them.
      for (const program of programs) await addProgram(root, program, program);
      for (const library of libraries) await addLibraries(root, library);
      addFolder(
        root,
        `${home}/lib`,
        `${home}/lib`,
        (path) => !path.includes('bitcode') && !path.includes('llvmjit') && !path.includes('pgxs'),
      );
      addFolder(root, share, share, (path) => !/\/(man|locale)(\/|$)/.test(path));
      addFolder(root, '/usr/share/zoneinfo/Etc', '/usr/share/zoneinfo/Etc');
      copyFileSync('/usr/share/zoneinfo/UTC', join(root, 'usr/share/zoneinfo/UTC'));
      await addShell(root);
      mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
      mkdirSync(join(root, 'docker-entrypoint-initdb.d'));
      writeFileSync(join(root, 'usr/local/bin/entrypoint'), postgresEntrypoint, { mode: 0o755 });
    },
  };
  return {
    name: `bowline.test/postgres:${version}`,
    layers: [layer],
    config: {
      Entrypoint: ['entrypoint'],
      Env: [`PGDATA=/var/lib/postgresql/data`, `PATH=/usr/local/bin:${home}/bin:/bin`],
      User: '999:999',
      StopSignal: 'SIGINT',
    },
  };
}
