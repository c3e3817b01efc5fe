import type { Socket } from 'node:net';
import { net } from '../spec/late.js';

/** Every option that a socket of Node looks for, so that it finds none of them in `Object.prototype`. */
const all = Object.freeze(
  Object.fromEntries(
    [
      'allowHalfOpen',
      'blockList',
      'captureRejections',
      'construct',
      'defaultEncoding',
      'destroy',
      'encoding',
      'final',
      'handle',
      'highWaterMark',
      'keepAlive',
      'keepAliveInitialDelay',
      'manualStart',
      'noDelay',
      'objectMode',
      'onread',
      'path',
      'pauseOnCreate',
      'read',
      'readableHighWaterMark',
      'readableObjectMode',
      'signal',
      'write',
      'writableHighWaterMark',
      'writableObjectMode',
      'writev',
    ].map((name) => [name, undefined]),
  ),
);

/** Makes the stream of this process's end of a pipe, for one direction. It reads when it is asked to. */
export function pipeStream(fd: number, direction: 'readable' | 'writable'): Socket {
  const options = {
    ...all,
    fd,
    manualStart: true,
    readable: direction === 'readable',
    writable: direction === 'writable',
  };
  return new (net().Socket)(options);
}
