import { selectEngine } from '../engine/select.js';
import { CommandError, subjectOf } from '../errors/command-error.js';
import { publishError } from '../events/events.js';
import { thisHost } from '../host/host.js';
import { assertUnheld, claim } from '../pidfile/claim.js';
import { absolute } from '../plan/program.js';
import type { CommandSpec } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import { DaemonResult } from './daemon-result.js';
import { type Attachments, launch } from './launch.js';

/**
 * Starts a daemon and resolves when its program is running and its pidfile is written.
 *
 * Where the engine leaves the pidfile to us, it is looked at before the start and written after it; whoever loses a race
 * for it is ended again, before the caller hears of it.
 *
 * @throws {PidFileError} if a living process holds the pidfile, or it cannot be written. {LaunchError} as every launch.
 */
export async function startDaemon(spec: CommandSpec, attachments: Attachments): Promise<DaemonResult> {
  const engine = selectEngine();
  const subject = subjectOf(spec);
  const path = spec.pidFile === undefined ? undefined : absolute(spec.pidFile, thisHost);
  const pidFile = path === undefined ? undefined : readable(path);
  // By an engine that refuses a path which is no text.
  const writesPidFile = pidFile !== undefined && pidFile === path && engine.pidFileWriter === 'caller';

  if (writesPidFile) await published(assertUnheld(pidFile, subject));
  const { process } = await launch(spec, 'daemon', attachments, engine);
  if (writesPidFile) {
    try {
      await published(claim(pidFile, process.pid, subject));
    } catch (error) {
      process.signal('SIGKILL');
      await process.ended;
      throw error;
    }
  }
  process.unref();
  const { pid, stdin, stdout, stderr } = process;
  return new DaemonResult({ command: subject.command, pid, pidFile, stdin, stdout, stderr }, process.handshake);

  /** The launch publishes its own errors; those of the pidfile come from beside it. */
  async function published(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (error instanceof CommandError) publishError({ command: subject.command, spec, error });
      throw error;
    }
  }
}
