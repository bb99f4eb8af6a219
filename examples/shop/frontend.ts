/** The shop's front: one page of JSON from the services behind it, each with who answered. GET /, GET /stats. */
import { NotFound, serve, servedBy, setting } from './program.ts';

const services = {
  catalog: setting('CATALOG_URL', 'http://catalog'),
  stats: setting('STATS_URL', 'http://stats-api'),
  cart: setting('CART_URL', 'http://cart'),
};

serve({
  name: 'frontend',
  port: 3000,
  async handler({ url }) {
    if (url.pathname === '/stats') return await ask(`${services.stats}/stats`);
    if (url.pathname !== '/') throw new NotFound(url.pathname);
    const [catalog, stats, cart] = await Promise.all([
      ask(`${services.catalog}/articles`),
      ask(`${services.stats}/stats`),
      ask(`${services.cart}/carts/visitor`),
    ]);
    return { servedBy, catalog, stats, cart };
  },
});

async function ask(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return await response.json();
}
