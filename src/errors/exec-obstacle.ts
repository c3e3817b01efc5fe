import { bare } from '../spec/bare.js';
import { quoted } from '../text/shown.js';
import type { Explanation } from './explanation.js';

/** What stands in the way of an exec: the program itself, or a file that it needs. */
export interface Obstacle {
  /** What `execve` answers. */
  readonly errno: string;
  /** What the file is to the program. An interpreter may be another script's, which is the program's. */
  readonly role: 'program' | 'interpreter' | 'loader';
  readonly path: string;
  /** The script that names the interpreter, or the binary that names the loader. */
  readonly of?: string;
  /** The program, where that is not `of`. */
  readonly program?: string;
  readonly is:
    | 'missing'
    | 'below-a-file'
    | 'behind-links'
    | 'too-long-a-path'
    | 'closed'
    | 'directory'
    | 'fifo'
    | 'socket'
    | 'device'
    | 'noexec'
    | 'not-executable'
    | 'not-executable-for'
    | 'unreadable'
    | 'long-line'
    | 'no-interpreter'
    | 'too-deep'
    | 'empty'
    | 'text'
    | 'marked-text'
    | 'foreign'
    | 'other-system'
    | 'object'
    | 'damaged'
    | 'no-loader';
  /** The closed directory, the mount point, the uid, the machine or the system. */
  readonly detail?: string;
  /** The file is a binary, which no interpreter reads. */
  readonly isBinary?: boolean;
}

const MEND_LINE = 'Mend the first line of the script, or install the interpreter.';

/** Says what stands in the way, and the way out. */
export function explainObstacle(found: Obstacle): Explanation {
  const obstacle = bare(found);
  const explanation = bare(explain(obstacle, nameOf(obstacle)));
  const { program, of } = obstacle;
  if (program === undefined || of === undefined) return explanation;
  // The file that is wrong may be one that nobody has named.
  return {
    ...explanation,
    wayOut: [`${quoted(program)} needs ${quoted(of)}.`, explanation.wayOut].join(' ').trimEnd(),
  };
}

function nameOf({ role, path, of = '' }: Obstacle): string {
  return role === 'program' ? quoted(path) : `the ${role} of ${quoted(of)}, ${quoted(path)},`;
}

function explain(obstacle: Obstacle, name: string): Explanation {
  const { role, is, path, detail = '', isBinary = false } = obstacle;
  switch (is) {
    case 'missing':
      return explainMissing(obstacle, name);
    case 'below-a-file':
      return { what: `a part of the path ${quoted(path)} is not a directory`, ...mendFor(obstacle) };
    case 'behind-links':
      return { what: `${name} goes through too many symbolic links`, ...mendFor(obstacle) };
    case 'too-long-a-path':
      return { what: `the path ${quoted(path)} is too long`, ...mendFor(obstacle) };
    case 'closed':
      return {
        what: `the directory ${quoted(detail)} on the way to ${quoted(path)} cannot be entered`,
        wayOut: 'The user that the program runs as needs the permission x on it.',
      };
    case 'directory':
    case 'socket':
    case 'device':
      return { what: `${name} is a ${is}`, ...mendFor(obstacle) };
    case 'fifo':
      return { what: `${name} is a FIFO`, ...mendFor(obstacle) };
    case 'noexec':
      return {
        what: `${name} lies on a file system from which nothing may be executed, since ${quoted(detail)} is mounted with noexec`,
        wayOut:
          role === 'program' && !isBinary
            ? 'Move it to another file system, or name its interpreter as the program.'
            : 'Move it to another file system, or mount that one with exec.',
      };
    case 'not-executable':
      if (role !== 'program') return { what: `${name} is not executable`, wayOut: `Run \`chmod +x\` on the ${role}.` };
      return {
        what: `${name} is not executable`,
        wayOut: isBinary ? 'Run `chmod +x` on it.' : 'Run `chmod +x` on it, or name its interpreter as the program.',
      };
    case 'not-executable-for':
      return {
        what: `${name} may not be executed by the user ${detail}`,
        wayOut: 'Give that user the permission x on it.',
      };
    case 'unreadable':
      return role === 'program'
        ? {
            what: `${name} is no binary, and a script must be readable for whoever runs it`,
            wayOut: 'Run `chmod +r` on it.',
          }
        : {
            what: `${name} may not be read, so it cannot be told whether the kernel executes it`,
            wayOut: 'Run `chmod +r` on it, or use the native engine, which asks the kernel.',
          };
    case 'long-line':
      return {
        what: `the first line of ${quoted(path)} is too long: the kernel reads 255 bytes of it, and the interpreter's path does not end there`,
        wayOut: "Name the interpreter by a shorter path, such as a symbolic link, or by '#!/usr/bin/env NAME'.",
      };
    case 'no-interpreter':
      return {
        what: `the first line of ${quoted(path)}, '#!', names no interpreter`,
        wayOut: "Begin it with '#!/bin/sh', or name its interpreter as the program.",
      };
    case 'too-deep':
      return {
        what: `the interpreter of ${quoted(path)} is a script itself, and so are more interpreters after it than the kernel follows`,
        wayOut: 'Name a binary as the interpreter.',
      };
    default:
      return explainFormat(obstacle, name);
  }
}

function explainMissing({ role, path }: Obstacle, name: string): Explanation {
  switch (role) {
    case 'program':
      return { what: `${name} does not exist` };
    case 'loader':
      return {
        what: `${name} does not exist`,
        wayOut: 'The program was built for another C library; install that one, or a program built for this system.',
      };
    case 'interpreter':
      return {
        what: `${name} does not exist`,
        wayOut: path.endsWith('\r')
          ? String.raw`The script has Windows line endings; take the '\r' away, as ${'`'}sed -i 's/\r$//'${'`'} does.`
          : MEND_LINE,
      };
  }
}

/** A way out where the file that is wrong was named in another one. */
function mendFor({ role }: Obstacle): { wayOut?: string } {
  return role === 'interpreter' ? { wayOut: 'Mend the first line of the script.' } : {};
}

/** The files that are there and may be executed, and that the kernel executes in no way. */
function explainFormat(obstacle: Obstacle, name: string): Explanation {
  const { what, wayOut } = explainProgramFormat(obstacle, name);
  return {
    what,
    wayOut: obstacle.role === 'interpreter' ? 'Mend the first line of the script, or the interpreter.' : wayOut,
  };
}

function explainProgramFormat({ is, detail = '' }: Obstacle, name: string): Required<Explanation> {
  switch (is) {
    case 'empty':
      return {
        what: `${name} is empty`,
        wayOut: "Install it anew; a script that does nothing holds the line '#!/bin/sh'.",
      };
    case 'text':
      return {
        what: `${name} has no '#!' line and is not a binary of this machine`,
        wayOut: "Begin it with '#!/bin/sh', or name its interpreter as the program.",
      };
    case 'marked-text':
      return {
        what: `${name} begins with a byte order mark, and not with '#!'`,
        wayOut: 'Save it without the mark.',
      };
    case 'foreign':
      return {
        what: `${name} is a binary for ${detail}, which this machine does not execute`,
        wayOut: 'Install the program that is built for this machine.',
      };
    case 'other-system':
      return {
        what: `${name} is a program for ${detail}`,
        wayOut: 'Install the program that is built for Linux.',
      };
    case 'object':
      return { what: `${name} is an object file or a core dump, and no program`, wayOut: 'Link it first.' };
    case 'no-loader':
      return { what: `${name} is no loader`, wayOut: 'Install the C library anew that the program was built for.' };
    default:
      return { what: `${name} is a binary that is cut short or damaged`, wayOut: 'Install or copy it anew.' };
  }
}
