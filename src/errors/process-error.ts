import { bare } from '../spec/bare.js';

/** What went wrong with a process. */
export interface ProcessFailure {
  /** The errno's name. */
  readonly code: string;
  /** The process that was meant. */
  readonly pid?: number | undefined;
  /** The system call that failed. */
  readonly syscall?: string | undefined;
  readonly cause?: unknown;
}

/**
 * A process that could not be signaled, ended, waited for or looked at. It is known by its pid alone, so there is no command to
 * tell, and it is no `CommandError`.
 */
export class ProcessError extends Error {
  /**
   * The errno's name. `EPERM`: it may not be signaled. `EBUSY`: it is still there. `ECHILD`: it is no child that can be waited for.
   * `EINVAL`: to end it would end this process. Others are what the kernel answered, such as `EMFILE`.
   */
  readonly code: string;
  /** The process that was meant; `undefined` where the failure is not about a single one. */
  readonly pid: number | undefined;
  /** The system call that failed; `undefined` where none was made. */
  readonly syscall: string | undefined;

  constructor(message: string, failure: ProcessFailure) {
    const { code, pid, syscall, cause } = bare(failure);
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.pid = pid;
    this.syscall = syscall;
  }

  /** The name of the class. */
  override get name(): string {
    return 'ProcessError';
  }
}

/** What went wrong with a descriptor. */
export interface DescriptorFailure {
  readonly code: string;
  readonly syscall: string;
}

/**
 * A descriptor that could not be made, by `listenUnix()` and the like. There is no command to tell, so it is no `CommandError`.
 */
export class DescriptorError extends Error {
  /** The errno's name: `EADDRINUSE`, `EACCES` … */
  readonly code: string;
  /** The system call that failed. */
  readonly syscall: string;

  constructor(what: string, wayOut: string | undefined, { code, syscall }: DescriptorFailure) {
    super(`${what} (${syscall}: ${code}).${wayOut === undefined ? '' : ` ${wayOut}`}`);
    this.code = code;
    this.syscall = syscall;
  }

  /** The name of the class. */
  override get name(): string {
    return 'DescriptorError';
  }
}
