/**
 * What the shop sells, in numbers: articles from PostgreSQL, carts from Redis, names from the catalog service. Runs in a
 * pod and, unchanged, on a developer's machine: `node examples/shop/stats-api.ts` with the same variables.
 */
import { openPostgres, openRedis } from './database.ts';
import { NotFound, serve, servedBy, setting } from './program.ts';

const postgres = openPostgres();
const redis = openRedis();
const catalog = setting('CATALOG_URL', 'http://catalog');

serve({
  name: 'stats-api',
  port: 3001,
  ready: () => Promise.all([postgres.query('SELECT 1'), redis.ping()]),
  close: async () => {
    redis.destroy();
    await postgres.end();
  },
  async handler({ url }) {
    if (url.pathname === '/whoami') return { service: 'stats-api', servedBy };
    if (url.pathname !== '/' && url.pathname !== '/stats') throw new NotFound(url.pathname);
    const [prices, inCarts, requests, articles] = await Promise.all([
      postgres.query<{ articles: number; average: number }>(
        'SELECT count(*)::int AS articles, round(avg(price), 2)::float AS average FROM articles',
      ),
      redis.get('articles-in-carts'),
      redis.incr('stats-requests'),
      fetch(`${catalog}/articles`, { signal: AbortSignal.timeout(5000) }).then(
        (response) => response.json() as Promise<{ articles: Array<{ name: string }> }>,
      ),
    ]);
    return {
      service: 'stats-api',
      servedBy,
      version: process.env['VERSION'] ?? 'unknown',
      articles: prices.rows[0]?.articles,
      averagePrice: prices.rows[0]?.average,
      names: articles.articles.map((article) => article.name),
      articlesInCarts: Number(inCarts ?? 0),
      requests,
    };
  },
});
