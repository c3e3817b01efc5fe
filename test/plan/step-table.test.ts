import { describe, expect, test } from 'vitest';
import { stepTable } from '../../src/plan/step-table.js';
import { childSteps } from '../../src/text/step-names.js';

const rows = Object.entries(stepTable);

describe('the table of steps', () => {
  test('has its rows in the order in which the steps come', () => {
    expect(rows.map(([step]) => step)).toEqual(childSteps);
  });

  test('keeps what waits, and what changes ids or capabilities, out of shared memory', () => {
    const inLane = (lane: string) => rows.filter(([, row]) => row.lane === lane).map(([step]) => step);
    expect(inLane('helper')).toEqual([
      'pidfile',
      'capbset_drop',
      'setgroups',
      'setgid',
      'setuid',
      'capset',
      'cap_ambient',
      'handshake',
    ]);
    expect(inLane('hook-runner')).toEqual(['hook']);
  });

  test.each(rows.flatMap(([step, { refusal }]) => (refusal === undefined ? [] : [[step, refusal]])))(
    'says why child_process cannot do %s, as the end of a sentence',
    (_step, refusal) => {
      expect(refusal).toMatch(/^(child_process|LISTEN_PID) .*[^.]$/);
    },
  );
});
