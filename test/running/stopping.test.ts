import { describe, expect, test } from 'vitest';
import { deadline } from '../../src/host/time.js';
import { type StopRules, Stopping } from '../../src/running/stopping.js';

/** A program that was launched at 1000 and has the time that the rules give it. */
const stopping = (rules: StopRules = {}): Stopping => new Stopping(deadline(1000, rules.timeoutMs), rules);

/** Does what comes next until there is nothing but to wait for the end, and notes it with the time. */
function drive(state: Stopping, from: number, outcome: 'sent' | 'ended' | 'refused' = 'sent') {
  const done: [signal: string, at: number][] = [];
  for (let now = from; ;) {
    const next = state.next(now);
    if (next === Infinity) return done;
    if (typeof next === 'number') {
      now += next;
      continue;
    }
    done.push([next, now]);
    state.noteSent(next, outcome, now - 1000);
  }
}

describe('the state of stopping', () => {
  test('has nothing to do but to wait where no limit was set', () => {
    expect(stopping().next(1_000_000)).toBe(Infinity);
    expect(stopping().report).toBeUndefined();
  });

  test('waits for the rest of the time, counted from the launch', () => {
    const state = stopping({ timeoutMs: 500 });
    expect(state.next(1000)).toBe(500);
    expect(state.next(1499.5)).toBe(0.5);
    expect(state.hasBegun).toBe(false);
    expect(state.report).toBeUndefined();
  });

  test('at the end of the time sends SIGTERM, and SIGKILL five seconds later', () => {
    const state = stopping({ timeoutMs: 500 });
    expect(drive(state, 1000)).toEqual([
      ['SIGTERM', 1500],
      ['SIGKILL', 6500],
    ]);
    expect(state.report).toEqual({
      reason: 'timeout',
      limit: 500,
      sent: [
        { signal: 'SIGTERM', atMs: 500, graceMs: 5000 },
        { signal: 'SIGKILL', atMs: 5500, graceMs: 0 },
      ],
    });
  });

  test('obeys a sequence, and has SIGKILL as its last word whatever the sequence says', () => {
    const sequence = [
      ['SIGINT', 10],
      ['SIGTERM', 20],
    ] as const;
    expect(drive(stopping({ timeoutMs: 0, stopSequence: sequence }), 1000)).toEqual([
      ['SIGINT', 1000],
      ['SIGTERM', 1010],
      ['SIGKILL', 1030],
    ]);
    expect(drive(stopping({ timeoutMs: 0, stopSequence: [['SIGKILL', 0]] }), 1000)).toEqual([['SIGKILL', 1000]]);
  });

  test('an empty sequence is SIGKILL at once', () => {
    expect(drive(stopping({ timeoutMs: 5, stopSequence: [] }), 1000)).toEqual([['SIGKILL', 1005]]);
  });

  test('is late where it is asked late: the graces count from what was really done', () => {
    const state = stopping({ timeoutMs: 500, stopSequence: [['SIGTERM', 100]] });
    expect(state.next(9000)).toBe('SIGTERM');
    expect(state.next(9000)).toBe(100);
    expect(state.next(9050)).toBe(50);
    expect(state.next(9100)).toBe('SIGKILL');
    expect(state.next(9100)).toBe(Infinity);
  });

  test('begins at once for an abort, whose cause is the reason', () => {
    const state = stopping({ timeoutMs: 500 });
    state.begin({ reason: 'aborted', cause: 'enough' }, 1100);
    expect(state.next(1100)).toBe('SIGTERM');
    state.noteSent('SIGTERM', 'sent', 100);
    expect(state.report).toEqual({
      reason: 'aborted',
      cause: 'enough',
      sent: [{ signal: 'SIGTERM', atMs: 100, graceMs: 5000 }],
    });
  });

  test('keeps its first reason: a later one neither changes it nor begins again', () => {
    const state = stopping({ timeoutMs: 500 });
    expect(state.next(1500)).toBe('SIGTERM');
    state.noteSent('SIGTERM', 'sent', 500);
    state.begin({ reason: 'aborted' }, 1600);
    expect(state.next(1600)).toBe(4900);
    expect(state.report?.reason).toBe('timeout');
  });

  test('is hastened by a sequence of its own, which begins at once; the reason stays', () => {
    const haste = [
      ['SIGTERM', 10],
      ['SIGKILL', 0],
    ] as const;
    const state = stopping({ timeoutMs: 500 });
    expect(state.next(1500)).toBe('SIGTERM');
    state.noteSent('SIGTERM', 'sent', 500);
    state.begin({ reason: 'aborted' }, 1600, haste);
    expect(state.next(1600)).toBe('SIGTERM');
    // Asked for again, it goes on and does not begin anew.
    state.begin({ reason: 'aborted' }, 1605, haste);
    expect(state.next(1605)).toBe(5);
    expect(state.next(1610)).toBe('SIGKILL');
    expect(state.report?.reason).toBe('timeout');
  });

  test('reports nothing where the program had ended before it could be signaled', () => {
    const state = stopping({ timeoutMs: 500 });
    expect(state.next(1500)).toBe('SIGTERM');
    state.noteSent('SIGTERM', 'ended', 500);
    expect(state.hasBegun).toBe(true);
    expect(state.report).toBeUndefined();
  });

  test('reports too much output even where the program had ended before it could be signaled', () => {
    const state = stopping();
    state.begin({ reason: 'output-limit', limit: 10, stream: 'stdout' }, 1200);
    expect(state.next(1200)).toBe('SIGTERM');
    state.noteSent('SIGTERM', 'ended', 200);
    expect(state.report).toEqual({ reason: 'output-limit', limit: 10, stream: 'stdout', sent: [] });
  });

  test('reports a timeout of a program that may not be signaled, and none of the signals that were refused', () => {
    const state = stopping({ timeoutMs: 500, stopSequence: [['SIGTERM', 5]] });
    expect(drive(state, 1000, 'refused')).toEqual([
      ['SIGTERM', 1500],
      ['SIGKILL', 1505],
    ]);
    expect(state.report).toEqual({ reason: 'timeout', limit: 500, sent: [] });
  });

  test('of a program that is let go forgets the time, but ends what it has begun', () => {
    const idle = stopping({ timeoutMs: 500 });
    idle.forgetDeadline();
    expect(idle.next(1_000_000)).toBe(Infinity);
    const begun = stopping({ timeoutMs: 500, stopSequence: [['SIGTERM', 5]] });
    expect(begun.next(1500)).toBe('SIGTERM');
    begun.forgetDeadline();
    expect(begun.next(1505)).toBe('SIGKILL');
  });

  test('gives the root no signal of its own where the time of a whole tree is over: whoever looked a moment too early looks again', () => {
    const state = stopping({ timeoutMs: 500, timeoutTree: true });
    // The clock goes on between the two questions.
    expect([state.endsTree(1499.9), state.next(1500.1), state.hasBegun]).toEqual([false, 0, false]);
    expect([state.endsTree(1500.1), state.next(1500.1)]).toEqual([true, 'SIGTERM']);
  });

  test('of the whole tree begins with the timeout that says so, or with any later cause', () => {
    const timed = stopping({ timeoutMs: 500, timeoutTree: true });
    expect([timed.endsTree(1499), timed.hasBegun]).toEqual([false, false]);
    expect(timed.endsTree(1500)).toBe(true);
    expect(timed.next(1500)).toBe('SIGTERM');
    const plain = stopping({ timeoutMs: 500 });
    plain.next(1500);
    expect(plain.endsTree(1500)).toBe(false);
    plain.begin({ reason: 'aborted' }, 1600, undefined, true);
    // All of it is asked from the first signal on.
    expect([plain.endsTree(1600), plain.next(1600), plain.next(1600)]).toEqual([true, 'SIGTERM', 5000]);
    plain.begin({ reason: 'aborted' }, 1700, undefined, true);
    expect(plain.next(1700)).toBe(4900);
    plain.noteSent('SIGTERM', 'sent', 600);
    expect(plain.report?.reason).toBe('timeout');
  });

  test('counts silence from the last word, unless what was said waits for a reader', () => {
    const state = stopping({ timeoutMs: 5000, silenceTimeoutMs: 300 });
    expect(state.next(1000)).toBe(5000);
    let isHeld = false;
    state.listen(1000, () => isHeld);
    expect(state.next(1000)).toBe(300);
    state.heard(1200);
    expect(state.next(1300)).toBe(200);
    isHeld = true;
    expect(state.next(1500)).toBe(300);
    isHeld = false;
    expect(state.next(1800)).toBe(300);
    expect(drive(state, 2100).at(0)).toEqual(['SIGTERM', 2100]);
    expect(state.report).toMatchObject({ reason: 'silence', limit: 300 });
  });

  test('gives a program that was held its whole time of silence, once it is known to be free', () => {
    const state = stopping({ silenceTimeoutMs: 300 });
    let isHeld = true;
    state.listen(1000, () => isHeld);
    expect(state.next(1300)).toBe(300);
    // It is free only for a moment when the time is over: it may not have come to write yet.
    isHeld = false;
    expect(state.next(1600)).toBe(300);
    expect(drive(state, 1899)).toEqual([
      ['SIGTERM', 1900],
      ['SIGKILL', 6900],
    ]);
    // What it writes meanwhile counts as ever.
    const speaking = stopping({ silenceTimeoutMs: 300 });
    isHeld = true;
    speaking.listen(1000, () => isHeld);
    expect(speaking.next(1300)).toBe(300);
    isHeld = false;
    speaking.heard(1400);
    expect(speaking.next(1700)).toBe('SIGTERM');
  });

  test('counts no silence where the program was let go, and the time comes first where it is shorter', () => {
    const released = stopping({ silenceTimeoutMs: 300 });
    released.listen(1000, () => false);
    released.forgetDeadline();
    expect(released.next(2000)).toBe(Infinity);
    const late = stopping({ timeoutMs: 100, silenceTimeoutMs: 300 });
    late.listen(1000, () => false);
    drive(late, 1000);
    expect(late.report?.reason).toBe('timeout');
  });
});
