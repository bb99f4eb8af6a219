import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventLine } from '../../api/schema.ts';
import { startStateFeed, type StateFeed, type StateFeedOptions } from './state-feed.ts';

type OnChange = StateFeedOptions['manager']['onChange'];
type Status = Awaited<ReturnType<StateFeedOptions['snapshot']>>;

/** A feed, and what makes it an event. */
function startFeed(): { feed: StateFeed; change: () => void } {
  let listener: Parameters<OnChange>[0] = () => assert.fail('nobody listens');
  const onChange: OnChange = (given) => {
    listener = given;
    return () => undefined;
  };
  const feed: StateFeed = startStateFeed({
    manager: { onChange },
    snapshot: async () => ({ version: feed.version() }) as Status,
    now: () => new Date(),
  });
  return { feed, change: () => listener({ event: 'disconnected', removed: 'shop/web' }) };
}

async function firstLine(feed: StateFeed, since: number): Promise<EventLine | undefined> {
  for await (const line of feed.follow(since, new AbortController().signal)) return line;
  return undefined;
}

void test('who is behind by more than is kept gets a snapshot, and anybody else what he missed', async () => {
  const { feed, change } = startFeed();
  const began = feed.version();
  const behind = async (): Promise<boolean> => 'reset' in ((await firstLine(feed, began)) ?? {});
  change();
  assert.equal(await behind(), false);
  for (let count = 1; count < 100; count++) change();
  assert.equal(await behind(), false);
  change();
  assert.equal(await behind(), true);
  const line = await firstLine(feed, feed.version() - 1);
  assert.deepEqual(line, { ...line, version: feed.version(), event: 'disconnected', removed: 'shop/web' });
});
