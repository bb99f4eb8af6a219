/**
 * A machine without the helper: `connect` says so, and what it can do without root is done. Services answer at the
 * addresses and ports of the *_SERVICE_HOST and *_SERVICE_PORT variables, those below 1024 included.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { deployShop } from '../../examples/shop/deploy.ts';
import type { Environment } from '../../api/schema.ts';
import { waitUntil } from '../cluster/wait.ts';
import { speaks, startDeveloper, type Developer } from './developer.ts';

void suite('without the helper', { timeout: 180_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'without-helper', helper: false });
    await deployShop(dev.namespace);
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());

  const inNamespace = (...args: string[]): string[] => ['connect', ...args, '-n', dev.namespace.name];
  /** A line of shell as a user would type it after `eval "$(bowline env)"`. */
  const withEnvironment = (script: string): Promise<string> =>
    dev.sh(`eval "$(${dev.machine.checkout}/bowline env 2>/dev/null)" && ${script}`);

  test('connect says that it is not there, what works instead, and what to do', async () => {
    const { exitCode, stdout, stderr } = await dev.bowline(inNamespace());
    assert.equal(exitCode, 0, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^warning: .*helper.*\*_SERVICE_HOST.*bowline helper install/);
    const { helper, connections } = await dev.status();
    assert.equal(helper.installed, false);
    assert.match(helper.detail ?? '', /helper/);
    assert.equal(connections[0]?.namesMode, 'env');
    assert.deepEqual(
      connections[0]?.services.flatMap(({ names }) => names),
      [],
      'no name is claimed to work',
    );
    const shown = await dev.must(['status']);
    assert.match(shown, /helper +not there/);
    assert.match(shown, /names +services answer at their variables/);
    assert.equal((await dev.bowline(['helper', 'status'])).exitCode, 7);
  });

  test('psql, redis-cli and curl reach the services at the variables', async () => {
    const { variables, source } = await dev.json<Environment>(['env']);
    assert.equal(source, 'none');
    assert.match(variables['POSTGRES_SERVICE_HOST'] ?? '', /^127\.66\./);
    assert.equal(variables['POSTGRES_SERVICE_PORT'], '5432', 'its own number, where root is not needed for it');
    assert.ok(Number(variables['CATALOG_SERVICE_PORT']) >= 1024, 'port 80 needs root, so another one stands for it');
    assert.equal(variables['CATALOG_SERVICE_PORT_HTTP'], variables['CATALOG_SERVICE_PORT']);
    assert.equal(
      variables['CATALOG_PORT_80_TCP'],
      `tcp://${variables['CATALOG_SERVICE_HOST']}:${variables['CATALOG_SERVICE_PORT']}`,
    );
    const query = `psql -h $POSTGRES_SERVICE_HOST -p $POSTGRES_SERVICE_PORT -U shop -d shop -Atc 'SELECT count(*) FROM articles'`;
    assert.equal(await withEnvironment(`PGPASSWORD=not-a-secret-in-an-example ${query}`), '4');
    assert.equal(await withEnvironment('redis-cli -h $REDIS_SERVICE_HOST -p $REDIS_SERVICE_PORT PING'), 'PONG');
    const catalog = 'http://$CATALOG_SERVICE_HOST:$CATALOG_SERVICE_PORT';
    assert.match(await withEnvironment(`curl -sS ${catalog}/articles`), /anchor/);
    await dev.must(['disconnect']);
    await untouched();
  });

  test('a port that another program has is left to it, and its owner is named', async () => {
    const program = dev.machine.spawn([
      'node',
      '-e',
      `require('node:net').createServer().listen(6379, '0.0.0.0', () => console.log('ready'))`,
    ]);
    try {
      await speaks(program);
      await dev.must(inNamespace());
      const redis = (await dev.connection()).services.find(({ service }) => service === 'redis');
      assert.match(redis?.ports[0]?.problem ?? '', new RegExp(`6379.*node.*${program.pid}`));
      assert.match(await dev.must(['status']), new RegExp(`redis\\S*:6379 +.*node.*${program.pid}`));
      const { variables } = await dev.json<Environment>(['env']);
      assert.equal(variables['REDIS_SERVICE_HOST'], undefined, 'what does not answer is not announced');
      assert.equal(program.exitCode ?? program.signalCode, null, 'nothing is killed');
    } finally {
      program.kill();
      await dev.bowline(['disconnect']);
    }
    await untouched();
  });

  test('a command gets the variables of its pod, with services that answer here', async () => {
    const script = [
      `psql -h $POSTGRES_SERVICE_HOST -p $POSTGRES_SERVICE_PORT -Atc 'SELECT count(*) FROM articles'`,
      'redis-cli -h $REDIS_SERVICE_HOST -p $REDIS_SERVICE_PORT PING',
    ].join(' && ');
    const cwd = `${dev.machine.home}/project`;
    const file = 'CATALOG=${services.catalog}\nDATABASE=${services.postgres}\n';
    await dev.sh(`mkdir ${cwd} && cat > ${cwd}/azds-local.env`, { input: file });
    const connect = [...inNamespace('deploy/stats-api', '--port', '3001'), '--', 'sh', '-c'];
    const asks = 'curl -sSo /dev/null http://$CATALOG:$CATALOG_SERVICE_PORT && echo $CATALOG_SERVICE_PORT';
    const result = await dev.bowline([...connect, `${script} && ${asks}`], { cwd });
    assert.equal(result.exitCode, 0, result.stderr);
    const [, local] =
      /^warning: CATALOG is the address of catalog, where port 80 answers at (\d+)\. .*helper/m.exec(result.stderr) ??
      [];
    assert.equal(result.stdout, `4\nPONG\n${local}\n`, 'the address alone is not enough for a port below 1024');
    assert.doesNotMatch(result.stderr, /DATABASE/, 'its port is its own');
    await untouched();
  });

  test('a helper that is installed meanwhile brings the names to what is connected', async () => {
    await dev.must(inNamespace());
    const before = await dev.connection();
    assert.ok(before.warnings.some(({ code }) => code === 'HELPER_MISSING'));
    await dev.must(['helper', 'install']);
    try {
      await waitUntil(async () => (await dev.connection()).namesMode === 'hosts', { what: 'the names' });
      assert.equal(await dev.sh('redis-cli -h redis PING'), 'PONG');
      assert.match(await dev.sh('curl -sS http://catalog/articles'), /anchor/);
      const { id, warnings } = await dev.connection();
      assert.equal(id, before.id);
      assert.deepEqual(
        warnings,
        before.warnings.filter(({ code }) => code !== 'HELPER_MISSING'),
      );
      await dev.must(['disconnect']);
    } finally {
      await dev.must(['helper', 'uninstall']);
    }
    await untouched();
  });

  test('--names hosts fails with HELPER_MISSING and leaves nothing', async () => {
    const { exitCode, stderr } = await dev.bowline(
      inNamespace('deploy/stats-api', '--port', '3001', '--names', 'hosts'),
    );
    assert.equal(exitCode, 7);
    assert.match(stderr, /^error\[HELPER_MISSING\]: .*\n +hint: .*bowline helper install.*--names env/m);
    await untouched();
    assert.deepEqual(
      (await dev.status()).connections.filter(({ state }) => state !== 'failed'),
      [],
    );
  });
});
