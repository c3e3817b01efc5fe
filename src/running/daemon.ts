import { ProcessHandle } from '../ending/process-handle.js';
import type { EngineProcess } from '../engine/engine.js';
import { thisHost } from '../host/host.js';
import { assertUnheld, claim } from '../pidfile/claim.js';
import { absolute } from '../plan/program.js';
import { readable } from '../text/bytes.js';
import { DaemonResult } from './daemon-result.js';
import type { Launch } from './launch.js';

/**
 * Launches a daemon, and resolves when its program is running and its pidfile is written.
 *
 * Where the engine leaves the pidfile to us, it is looked at before the launch and written after it. A daemon that loses the
 * race for it is ended again, before the caller hears of it.
 *
 * @throws {PidFileError} if a living process holds the pidfile, or it cannot be written. {LaunchError} as every launch.
 */
export async function launchDaemon(
  launch: Launch,
  perform: (launch: Launch) => Promise<EngineProcess>,
): Promise<DaemonResult> {
  const { engine, spec, subject } = launch;
  const path = spec.pidFile === undefined ? undefined : absolute(spec.pidFile, thisHost);
  const pidFile = path === undefined ? undefined : readable(path);
  // A path that is no text has been refused by an engine that does not write it itself.
  const claims = pidFile !== undefined && pidFile === path && engine.pidFileWriter === 'caller';
  if (claims) await assertUnheld(pidFile, subject);
  const process = await perform(launch);
  if (claims) await claimOrEnd(pidFile, process, launch);
  process.unref();
  const { pid, stdin, stdout, stderr } = process;
  const handle = ProcessHandle.ofDaemon(pid, engine.name !== 'dry-run');
  return new DaemonResult(subject, { pid, pidFile, stdin, stdout, stderr }, handle, process.handshake);
}

async function claimOrEnd(pidFile: string, process: EngineProcess, { subject }: Launch): Promise<void> {
  try {
    await claim(pidFile, process.pid, subject);
  } catch (error) {
    process.signal('SIGKILL');
    await process.ended;
    throw error;
  }
}
