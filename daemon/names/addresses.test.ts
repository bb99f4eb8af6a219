import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressProblem } from '../../helper/validate.ts';
import { AddressBook } from './addresses.ts';

const keys = Array.from({ length: 5000 }, (_, index) => `context server shop/service-${index}`);

void test('addresses are inside the range, one each, and the same every time', () => {
  const first = new AddressBook({}, '1000').assign(keys).addresses;
  assert.equal(new Set(first.values()).size, keys.length);
  for (const address of first.values()) assert.equal(addressProblem(address), undefined);
  assert.deepEqual(new AddressBook({}, '1000').assign(keys.toReversed()).addresses, first);
  assert.notDeepEqual(new AddressBook({}, '1001').assign(keys).addresses, first);
});

void test('what is remembered wins over the hash', () => {
  const book = new AddressBook({ a: '127.66.7.7', evil: '10.0.0.1' }, '');
  const { addresses, changed } = book.assign(['a', 'b']);
  assert.equal(addresses.get('a'), '127.66.7.7');
  assert.equal(changed, true);
  assert.equal(book.assign(['a', 'b']).changed, false);
  assert.deepEqual(Object.keys(book.entries()).sort(), ['a', 'b']);
  const taken = new AddressBook({ other: addresses.get('b') ?? '' }, '').assign(['b']).addresses.get('b');
  assert.notEqual(taken, addresses.get('b'));
});

void test('what nobody uses is forgotten before the range is full', () => {
  const book = new AddressBook({}, '');
  for (let round = 0; round < 4; round += 1)
    book.assign(Array.from({ length: 10_000 }, (_, index) => `${round}-${index}`));
  assert.equal(Object.keys(book.entries()).length, 30_000);
  assert.ok('3-9999' in book.entries());
});
