import { describe, expect, test } from 'vitest';
import { inParent, needsNobody, NOBODY } from '../helpers/native.js';
import type { EngineUnderTest } from './engine.js';

export function groupContract({ name }: EngineUnderTest): void {
  describe('groups that are to be given up', () => {
    /** What comes of it where another process, with or without groups and privileges, asks for it. */
    const told = (words: readonly string[]) =>
      inParent(
        async ({ Command: Program }, [id]) => {
          const ids = new Program('id', '-G').uid(id).gid(id).groups([]).outputBuffer();
          return ids.run().then(
            ({ stdout }) => stdout.trim(),
            (error: unknown) => String(error),
          );
        },
        [NOBODY] as const,
        { through: ['setpriv', ...words], env: { VIRCOMMAND_ENGINE: name } },
      );
    const ids = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`];

    // child_process runs the program with the groups, since libuv ignores that the kernel refuses; Python and systemd tell the EPERM.
    test('and that the kernel does not let go are an error, and no program runs with them', async ({ skip }) => {
      needsNobody(skip);
      expect(await told([...ids, '--groups=44,27'])).toBe(
        name === 'native'
          ? 'LaunchError: Cannot start `id -G`: this process may not give up its groups (setgroups: EPERM). Run as root, or with the capability CAP_SETGID.'
          : 'UnsupportedError: Cannot start `id -G`: the portable engine cannot do groups(), because child_process does not tell that the kernel refuses it, and the kernel would: this process has groups, and may not give them up. Leave the call out, or use an engine that can: see docs/engines.md.',
      );
    });

    test('are given up by who may', async ({ skip }) => {
      needsNobody(skip);
      expect(await told(['--groups=44,27'])).toBe(String(NOBODY));
      const mayChangeGroups = ['--inh-caps', '-all,+setgid', '--ambient-caps', '-all,+setgid'];
      expect(await told([...ids, '--groups=44,27', ...mayChangeGroups])).toBe(String(NOBODY));
    });

    test('and are none already need no privilege where child_process gives them up', async ({ skip }) => {
      needsNobody(skip);
      const answer = await told([...ids, '--clear-groups']);
      if (name === 'portable') expect(answer).toBe(String(NOBODY));
      else expect(answer).toContain('(setgroups: EPERM)');
    });
  });
}
