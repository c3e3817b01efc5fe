import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProcessError } from '../../errors/process-error.js';
import { ALL_OF_IT, bare } from '../../spec/bare.js';

/**
 * Every option that servers and sockets look for, so that they find none of them in `Object.prototype`: they make objects of their
 * own of what they are given, and those inherit.
 */
const noOptions = Object.freeze({
  allowHalfOpen: undefined,
  backlog: undefined,
  blockList: undefined,
  captureRejections: undefined,
  decodeStrings: undefined,
  emitClose: undefined,
  fd: undefined,
  handle: undefined,
  highWaterMark: undefined,
  host: undefined,
  keepAlive: undefined,
  keepAliveInitialDelay: undefined,
  noDelay: undefined,
  objectMode: undefined,
  onread: undefined,
  path: undefined,
  pauseOnConnect: undefined,
  port: undefined,
  read: undefined,
  readable: undefined,
  readableAll: undefined,
  readableHighWaterMark: undefined,
  readableObjectMode: undefined,
  signal: undefined,
  timeout: undefined,
  writable: undefined,
  writableAll: undefined,
  writableHighWaterMark: undefined,
  writableObjectMode: undefined,
  write: undefined,
});

/** Two connected stream sockets. */
export interface SocketPair {
  readonly ours: Socket;
  readonly theirs: Socket;
}

/**
 * Makes a pair of connected sockets, which `child_process` can hand to a child as several descriptors.
 *
 * Node has no `socketpair()`, and a `'pipe'` of `child_process` can be one descriptor of the child only. Two streams
 * that must keep their order need one open file; hence a listening socket in a directory that only this user can
 * enter, which is gone again before the pair is handed out.
 */
export async function socketPair(): Promise<SocketPair> {
  const directory = await mkdtemp(join(tmpdir(), 'vircommand-'));
  const server = createServer(bare(noOptions));
  let theirs: Socket | undefined;
  try {
    const path = join(directory, 's');
    server.listen(bare({ path }));
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    theirs = connect(bare({ ...noOptions, path }));
    // Without a descriptor left, libuv accepts a connection only to close it, and tells nobody but the other end.
    const refused = once(theirs.resume(), 'close').then(() => {
      throw new ProcessError('The connection was closed at once.', { code: 'EMFILE', syscall: 'accept' });
    });
    const [ours] = (await Promise.race([accepted, refused])) as [Socket];
    refused.catch(() => undefined);
    theirs.pause();
    return { ours, theirs };
  } catch (error) {
    theirs?.destroy();
    throw error;
  } finally {
    server.close();
    await rm(directory, ALL_OF_IT);
  }
}
