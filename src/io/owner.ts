import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import type { Readable, Stream, Writable } from 'node:stream';
import { net, streams } from '../spec/late.js';
import { Wrong } from '../text/reading.js';
import { Descriptor } from './descriptor.js';
import { OutputPipe } from './output-pipe.js';

/** A descriptor: its number, or an object that owns one, which is closed in its place where it is given away. */
export type DescriptorLike = number | Descriptor | FileHandle | Server | Socket | Readable | Writable;

/** An object that owns a descriptor, which it also closes. */
export interface Owner {
  readonly object: object;
  /** What it is, for a message. */
  readonly name: string;
  /** The descriptor; `undefined` where it has none, not yet or no more. */
  fd(): number | undefined;
  /** How many bytes this process has read from it that nobody has taken. */
  unread(): number;
  /** Has this process read no more from it, until somebody asks for more. */
  stopReading(): void;
  close(): void | Promise<void>;
}

/** What Node's streams and servers have below them. */
interface HasHandle {
  readonly _handle?: { readonly fd?: number; reading?: boolean; readStop?(): void } | null;
  readonly fd?: unknown;
}

/** Reads an object that owns a descriptor. */
export function ownerOf(object: object): Owner | Wrong {
  const name = `the ${nameOf(object)}`;
  const silent = { object, name, unread: () => 0, stopReading: () => undefined };
  if (object instanceof Descriptor) {
    return { ...silent, fd: () => number(object.fd), close: () => object.close() };
  }
  if (object instanceof net().Server) {
    return { ...silent, fd: () => handleOf(object), close: () => closeServer(object) };
  }
  if (object instanceof OutputPipe) {
    return {
      ...silent,
      name: "the child's stream",
      fd: () => handleOf(object.source),
      unread: () => object.readableLength + object.source.readableLength,
      stopReading: () => {
        object.passOn();
        stopReading(object);
        stopReading(object.source);
      },
      close: () => void object.destroy(),
    };
  }
  if (object instanceof streams().Stream) {
    const stream = object as Stream & HasHandle & { destroy?: () => void };
    return {
      ...silent,
      fd: () => handleOf(stream) ?? number(stream.fd),
      unread: () => (object instanceof streams().Readable ? object.readableLength : 0),
      stopReading: () => {
        if (object instanceof streams().Readable) stopReading(object);
      },
      close: () => stream.destroy?.(),
    };
  }
  const { fd, close } = object as { fd?: unknown; close?: unknown };
  if (typeof fd !== 'number' || typeof close !== 'function')
    return new Wrong(
      'an object is no descriptor, unless it owns one: give a number, a FileHandle, a net.Server, a stream that has one, or what listenUnix() and the like give',
    );
  const file = object as FileHandle;
  return { ...silent, fd: () => number(file.fd), close: () => file.close() };
}

function nameOf(object: object): string {
  const { constructor } = object as { constructor?: unknown };
  return typeof constructor === 'function' ? constructor.name : 'object';
}

const number = (fd: unknown): number | undefined => (typeof fd === 'number' && fd >= 0 ? fd : undefined);

const handleOf = (stream: object): number | undefined => number((stream as HasHandle)._handle?.fd);

/** As child_process does with a stream that a program is given. */
function stopReading(stream: Readable & HasHandle): void {
  if (stream.readableFlowing === true) stream.pause();
  const handle = stream._handle;
  if (handle?.readStop !== undefined) {
    handle.reading = false;
    handle.readStop();
  }
  // A read that has been asked for does not come any more; the next one asks anew.
  const state = (stream as { _readableState?: { reading?: boolean } })._readableState;
  if (state !== undefined) state.reading = false;
}

/**
 * Stops listening here. Node removes the file of a Unix socket with the server, by its name; the program that was given the socket
 * still listens there. So the file goes by another name for that moment.
 */
function closeServer(server: Server): void {
  const path = server.address();
  if (typeof path !== 'string' || path === '' || path.startsWith('\0')) {
    server.close();
    return;
  }
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    // Who may not rename it may not remove it either; or it is gone.
    server.close();
    return;
  }
  try {
    server.close();
  } finally {
    renameSync(aside, path);
  }
}
