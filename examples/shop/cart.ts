/** Carts, in Redis. GET /carts/NAME, POST /carts/NAME {"article": ID, "quantity": N}. */
import { openRedis } from './database.ts';
import { NotFound, serve, servedBy } from './program.ts';

const redis = openRedis();

serve({
  name: 'cart',
  port: 3004,
  ready: () => redis.ping(),
  close: async () => redis.destroy(),
  async handler({ method, url, body }) {
    const name = /^\/carts\/([\w-]{1,64})$/.exec(url.pathname)?.[1];
    if (name === undefined) throw new NotFound(url.pathname);
    if (method === 'POST') {
      const { article, quantity } = (await body()) as { article: number; quantity: number };
      await redis.hIncrBy(`cart:${name}`, String(article), quantity);
      await redis.incrBy('articles-in-carts', quantity);
    }
    return { servedBy, articles: await redis.hGetAll(`cart:${name}`) };
  },
});
