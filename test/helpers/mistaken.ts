import { Command } from '../../src/index.js';

/** A command with a mistake that this file made: a driver may well have a file of this name. */
export function mistaken(): Command {
  return new Command('prog').umask(-1);
}
