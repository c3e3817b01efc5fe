import { ProcessHandle } from '../ending/process-handle.js';
import type { EngineProcess } from '../engine/engine.js';
import { PlayedProcess } from '../engine/played.js';
import { readable } from '../text/bytes.js';
import { DaemonResult } from './daemon-result.js';
import type { Launch } from './launch.js';

/**
 * Launches a daemon, and resolves when its program is running and its pidfile is written; or, with a handshake, when the daemon stands before it.
 *
 * @throws {PidFileError} if a living process holds the pidfile, or it cannot be written. {LaunchError} as every launch.
 */
export async function launchDaemon(
  launch: Launch,
  perform: (launch: Launch) => Promise<EngineProcess>,
): Promise<DaemonResult> {
  const { plan, subject } = launch;
  const process = await perform(launch);
  process.unref();
  const { pid, stdin, stdout, stderr } = process;
  const pidFile = plan.steps.find((step) => step.step === 'pidfile');
  const path = pidFile === undefined ? undefined : readable(pidFile.path);
  const handle = process instanceof PlayedProcess ? ProcessHandle.ofPlayed(process) : ProcessHandle.ofDaemon(pid);
  return new DaemonResult(subject, { pid, pidFile: path, stdin, stdout, stderr }, handle, process.handshake);
}
