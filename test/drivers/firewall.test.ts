import { describe, expect, test } from 'vitest';
import { ExitError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { ensureRule, removeTable, replaceTable, tables } from '../../examples/drivers/firewall.js';
import { hasProgram, isRoot, rejection } from '../helpers/tools.js';

describe('in a dry run', () => {
  test('a table is replaced in one transaction', async () => {
    const inputs: string[] = [];
    using dry = dryRun({
      strict: true,
      respond: (_spec, input) => {
        inputs.push(input);
        return undefined;
      },
    });
    await replaceTable('guests', 'chain input { type filter hook input priority 0; }');
    expect(dry.commands).toEqual(['nft --file -']);
    expect(inputs).toEqual([
      'table inet guests\ndelete table inet guests\ntable inet guests {\nchain input { type filter hook input priority 0; }\n}\n',
    ]);
  });

  test('a mistake in it is told as nft tells it', async () => {
    const said = '/dev/stdin:4:1-3: Error: syntax error, unexpected newline\nfoo\n   ^\n';
    using _dry = dryRun({ strict: true, respond: () => ({ exitCode: 1, stderr: said }) });
    expect((await rejection(ExitError, replaceTable('guests', 'foo'))).message).toContain(said.trimEnd());
  });

  test('the tables are read', async () => {
    const answer = { nftables: [{ metainfo: { version: '1.0.6' } }, { table: { family: 'inet', name: 'guests' } }] };
    using _dry = dryRun({ strict: true, respond: () => ({ stdout: JSON.stringify(answer) }) });
    expect(await tables()).toEqual(['guests']);
  });

  test.each([
    [0, ['--check']],
    [1, ['--check', '--append']],
  ])('a rule is appended unless it is there: iptables exits with %i', async (exitCode, actions) => {
    using dry = dryRun({ strict: true, respond: ({ argv }) => (argv.includes('--check') ? { exitCode } : undefined) });
    await ensureRule('INPUT', '--jump', 'ACCEPT');
    expect(dry.argv).toEqual(actions.map((action) => ['iptables', '--wait', action, 'INPUT', '--jump', 'ACCEPT']));
  });

  test.each([{ exitCode: 4 }, { signal: 'SIGKILL' }] as const)(
    'what tells nothing of the rule is an error: %o',
    async (answer) => {
      using dry = dryRun({ strict: true, respond: () => answer });
      await rejection(ExitError, ensureRule('INPUT', '--jump', 'ACCEPT'));
      expect(dry.commands).toHaveLength(1);
    },
  );
});

describe('with nft itself', () => {
  test('a table comes, is replaced, and goes', async ({ skip }) => {
    skip(!hasProgram('nft') || !isRoot, 'it takes nft, and root');
    await replaceTable('vircommand_test', 'chain one { }');
    await replaceTable('vircommand_test', 'chain two { }');
    expect(await tables()).toContain('vircommand_test');
    await removeTable('vircommand_test');
    expect(await tables()).not.toContain('vircommand_test');
  });
});
