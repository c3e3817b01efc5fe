import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, FOREVER, isRunning, processStat, rejection, useDirectory } from '../helpers/tools.js';
import { asNobody, inParent, lanes, needsNobody, useNativeEngine } from '../helpers/native.js';
import { lockHolder } from '../helpers/daemons.js';
import { useHolders } from './tools.js';

useNativeEngine();
const path = useDirectory();
const { keep, stranger, holder } = useHolders();

const file = () => path('x.pid');
const own = String(process.pid);

/** Launches an owner by a script that starts another process of its group and tells its pid. */
async function withMember(script: string): Promise<{ pid: number; member: number }> {
  const { pid } = await new Command('sh', '-c', script, path('member')).daemonize().pidFile(file()).run();
  keep(pid);
  const member = await eventually(
    'it has started another one',
    () => existsSync(path('member')) && Number(readFileSync(path('member'), 'utf8')),
  );
  return { pid, member: keep(member) };
}

describe('PidFile.forceCleanup', () => {
  test('finds no fault in a file that is not there, and makes none', async () => {
    await PidFile.forceCleanup(file());
    await PidFile.forceCleanup(path('missing/x.pid'));
    expect(readdirSync(path())).toEqual([]);
  });

  test('removes a file that nobody holds, and leaves the process alone that has its pid now', async () => {
    const pid = await stranger();
    for (const content of [String(pid), '2147483647', '0', own]) {
      writeFileSync(file(), content);
      await PidFile.forceCleanup(file());
      expect([existsSync(file()), isRunning(pid)]).toEqual([false, true]);
    }
  });

  test.each(['', 'junk', '-5'])('refuses a file that holds %j, and leaves it', async (content) => {
    writeFileSync(file(), content);
    expect((await rejection(PidFileError, PidFile.forceCleanup(file()))).message).toBe(
      `Pidfile '${file()}' holds '${content}', which is no pid. Remove the file, or choose another one.`,
    );
    expect(readFileSync(file(), 'utf8')).toBe(content);
  });

  test.each(['a FIFO', 'a symbolic link'])('refuses %s, and leaves it', async (kind) => {
    if (kind === 'a FIFO') {
      execFileSync('mkfifo', [file()]);
    } else {
      writeFileSync(path('target'), '2147483647');
      symlinkSync('target', file());
    }
    await rejection(PidFileError, PidFile.forceCleanup(file()));
    expect(readdirSync(path()).includes('x.pid')).toBe(true);
    if (kind !== 'a FIFO') expect(readFileSync(path('target'), 'utf8')).toBe('2147483647');
  });

  test.for(lanes)('ends a daemon of ours and removes its file: %s', async ([, take]) => {
    const { pid } = await take(new Command('sleep', FOREVER).daemonize()).pidFile(file()).run();
    keep(pid);
    await PidFile.forceCleanup(file());
    expect([isRunning(pid), existsSync(file())]).toEqual([false, false]);
  });

  test('ends the processes of the group, where that is asked for, and no others', async () => {
    for (const group of [false, true]) {
      const script = `sleep ${FOREVER} & echo $! >"$0.new"; mv "$0.new" "$0"; wait`;
      const { pid, member } = await withMember(script);
      expect(processStat(member)?.group).toBe(processStat(pid)?.group);
      await PidFile.forceCleanup(file(), { group });
      expect([group, isRunning(pid), existsSync(file()), isRunning(member)]).toEqual([group, false, false, !group]);
      unlinkSync(path('member'));
    }
  });

  test('ends an owner that removes its own file when it is asked to end', async () => {
    const other = await holder(file());
    other.once('exit', () => undefined);
    await PidFile.forceCleanup(file());
    expect([isRunning(other.pid), existsSync(file())]).toEqual([false, false]);
  });

  test('never ends this process, nor its own group', async () => {
    using _ = await PidFile.acquire(file());
    for (const options of [{}, { group: true }]) {
      expect((await rejection(PidFileError, PidFile.forceCleanup(file(), options))).message).toBe(
        `Pidfile '${file()}' is held by this process itself. Release it there first, with PidFile.release().`,
      );
    }
    const other = await holder(path('other.pid'));
    expect((await rejection(PidFileError, PidFile.forceCleanup(path('other.pid'), { group: true }))).message).toMatch(
      new RegExp(
        `^Pidfile '.*' is held by process ${other.pid} \\(.*\\), and that is in the process group of this process\\. Leave \\{ group: true \\} out\\.$`,
      ),
    );
    expect([isRunning(other.pid), readFileSync(file(), 'utf8'), lockHolder(path('other.pid'))]).toEqual([
      true,
      own,
      other.pid,
    ]);
  });

  test('signals nobody where one stands in the file and another holds it', async () => {
    const named = await stranger();
    const other = await holder(file(), { pid: named });
    expect((await rejection(PidFileError, PidFile.forceCleanup(file()))).message).toMatch(
      new RegExp(
        `^Pidfile '.*' is held by process ${other.pid} \\(.*\\), but names process ${named}\\. Nothing was signaled; stop the right one yourself\\.$`,
      ),
    );
    expect([isRunning(named), isRunning(other.pid), lockHolder(file())]).toEqual([true, true, other.pid]);
  });

  test('waits for another cleaner, whose 0 stands in the file, and does not signal it', async () => {
    const other = await holder(file());
    const exited = once(other, 'exit');
    writeFileSync(file(), '0');
    const cleaning = PidFile.forceCleanup(file());
    await delay(60);
    expect([isRunning(other.pid), readFileSync(file(), 'utf8')]).toEqual([true, '0']);
    other.stdin?.end();
    await cleaning;
    const [code] = (await exited) as [number | null];
    expect([code, existsSync(file())]).toEqual([0, false]);
  });

  test('tells why a holder was not ended, and leaves the file', async ({ skip }) => {
    needsNobody(skip);
    const other = await holder(file());
    chmodSync(file(), 0o666);
    chmodSync(path(), 0o777);
    const told = await inParent(
      async ({ PidFile: Files }, name) => {
        return await Files.forceCleanup(name).then(
          () => 'cleaned',
          (error: unknown) => {
            const { message, heldBy, errno } = error as PidFileError;
            return { message, heldBy, errno };
          },
        );
      },
      file(),
      { through: asNobody },
    );
    expect(told).toEqual({
      message: expect.stringMatching(
        / is held by process \d+ \(.*\), which could not be ended \(kill: EPERM\)\. Stop that process yourself\.$/,
      ),
      heldBy: other.pid,
      errno: 'EPERM',
    });
    expect([isRunning(other.pid), readFileSync(file(), 'utf8')]).toEqual([true, String(other.pid)]);
  });

  test('refuses to end one that has come after the owner', async () => {
    // Of the owner's group, one ignores SIGTERM: so the cleaner is still at work when the owner has gone.
    const script = `(trap '' TERM; exec sleep ${FOREVER}) & echo $! >"$0.new"; mv "$0.new" "$0"; wait`;
    const { member } = await withMember(script);
    await eventually('that ignores SIGTERM', () => readFileSync(`/proc/${member}/cmdline`, 'utf8').startsWith('sleep'));
    const cleaning = rejection(PidFileError, PidFile.forceCleanup(file(), { group: true }));
    await eventually('the owner has gone', () => lockHolder(file()) === undefined);
    const successor = await holder(file());
    process.kill(member, 'SIGKILL');
    const error = await cleaning;
    expect(error.heldBy).toBe(successor.pid);
    expect(error.message).toMatch(
      /^Pidfile '.*' is held by process \d+ \(.*\)\. Stop that process, or choose another file\.$/,
    );
    expect([isRunning(successor.pid), readFileSync(file(), 'utf8')]).toEqual([true, String(successor.pid)]);
  });
});
