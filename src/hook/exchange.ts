import { Buffer } from 'node:buffer';
import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import type { HookFailure } from '../errors/hook-failure.js';
import type { HookSpec } from '../spec/spec.js';

/**
 * What the hook runner has to know. It stands in a file in memory that both sides have open: a byte for the state, then this.
 * The runner answers in the same file, and the byte last, so an answer is there as a whole or not at all.
 */
export interface Letter {
  readonly hook: HookSpec;
  /** The second argument of `preExecHook()`, serialized when it was said. */
  readonly opaque: Uint8Array | undefined;
  /** The file of the addon. */
  readonly addon: string;
  /** The file of the helper, which performs the steps after the hook, and the encoded plan of them. */
  readonly helper: string;
  readonly rest: Uint8Array;
  /** The place of the hook in the plan. */
  readonly step: number;
  /** The descriptors that reach the helper: the program's, a pidfile, and those of a handshake. */
  readonly keep: readonly number[];
}

/** What the runner has answered so far; `undefined` where it has not. */
export type Answer = 'done' | HookFailure | undefined;

const STATE_SIZE = 1;
const UNANSWERED = 0;
const DONE = 1;
const FAILED = 2;

/** The content of a new letter. */
export function sealed(letter: Letter): Buffer {
  return Buffer.concat([Buffer.of(UNANSWERED), serialize(letter)]);
}

/** Reads a letter, in the runner. */
export function readLetter(fd: number): Letter {
  return deserialize(contentOf(fd).subarray(STATE_SIZE)) as Letter;
}

/** Answers a letter, in the runner. */
export function answer(fd: number, outcome: 'done' | HookFailure): void {
  if (outcome !== 'done') {
    ftruncateSync(fd, STATE_SIZE);
    writeSync(fd, serialize(outcome), 0, undefined, STATE_SIZE);
  }
  writeSync(fd, Buffer.of(outcome === 'done' ? DONE : FAILED), 0, STATE_SIZE, 0);
}

/** Reads the answer. */
export function readAnswer(fd: number): Answer {
  const state = Buffer.alloc(STATE_SIZE);
  readSync(fd, state, 0, STATE_SIZE, 0);
  if (state[0] === DONE) return 'done';
  return state[0] === FAILED ? (deserialize(contentOf(fd).subarray(STATE_SIZE)) as HookFailure) : undefined;
}

function contentOf(fd: number): Buffer {
  const content = Buffer.alloc(fstatSync(fd).size);
  for (let at = 0; at < content.length;) {
    const size = readSync(fd, content, at, content.length - at, at);
    if (size === 0) break;
    at += size;
  }
  return content;
}
