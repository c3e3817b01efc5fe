import { SendBuffer } from '../../src/io/send-buffer.js';
import { expect, test } from 'vitest';

test.each([
  ['text', 'hunter2'],
  ['bytes', Buffer.from('hunter2')],
])('%s is copied, to memory of its own, and overwritten when it was sent', (_what, data) => {
  const buffer = new SendBuffer(data);
  const { bytes } = buffer;
  expect(bytes?.toString()).toBe('hunter2');
  // Small buffers of Node share a block: what is in that could come out elsewhere.
  expect(bytes?.buffer.byteLength).toBe(7);
  const copy = buffer.copy();
  buffer.wipe();
  expect([buffer.bytes, bytes]).toEqual([undefined, Buffer.alloc(7)]);
  expect(copy.bytes?.toString()).toBe('hunter2');
  expect(buffer.copy().bytes).toBeUndefined();
});
