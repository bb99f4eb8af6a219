/** The shop's articles, from PostgreSQL. GET /articles, GET /articles/ID. */
import { openPostgres } from './database.ts';
import { NotFound, serve, servedBy } from './program.ts';

interface Article {
  id: number;
  name: string;
  price: number;
}

const postgres = openPostgres();
const query = 'SELECT id, name, price::float FROM articles';

serve({
  name: 'catalog',
  port: 3003,
  ready: () => postgres.query('SELECT 1'),
  close: () => postgres.end(),
  async handler({ url }) {
    if (url.pathname === '/articles') {
      return { servedBy, articles: (await postgres.query<Article>(`${query} ORDER BY id`)).rows };
    }
    const id = /^\/articles\/(\d{1,9})$/.exec(url.pathname)?.[1];
    if (id === undefined) throw new NotFound(url.pathname);
    const [article] = (await postgres.query<Article>(`${query} WHERE id = $1`, [id])).rows;
    if (article === undefined) throw new NotFound(`article ${id}`);
    return { servedBy, article };
  },
});
