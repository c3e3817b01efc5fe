import type { Child, Terminal } from 'vircommand';
import { onTestFinished } from 'vitest';
import { DEADLINE_MS } from './tools.js';

/** A child with a terminal. */
export type TerminalChild = Pick<Child, 'free' | 'pid'> & { readonly terminal: Terminal };

/** What a person sees who sits at a terminal: all that came, and what comes after a look. */
export class Sitting {
  readonly terminal: Terminal;
  /** All that came. */
  all = '';
  #seen = 0;
  #look: (() => void) | undefined;

  /** The child is freed after the test. */
  constructor(child: TerminalChild) {
    this.terminal = child.terminal;
    this.terminal.setEncoding('utf8');
    this.terminal.on('data', (piece: string) => {
      this.all += piece;
      this.#look?.();
    });
    this.terminal.on('end', () => this.#look?.());
    onTestFinished(() => child.free());
  }

  /** Types, key by key. */
  type(keys: string): this {
    this.terminal.write(keys);
    return this;
  }

  /** Waits until something is to be seen that was not there at the last look, and gives what came up to there. */
  until(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        fail(`did not come within ${DEADLINE_MS} ms`);
      }, DEADLINE_MS);
      const done = (): void => {
        clearTimeout(timer);
        this.#look = undefined;
      };
      const fail = (why: string): void => {
        done();
        reject(new Error(`${String(pattern)} ${why}. There came: ${JSON.stringify(this.all.slice(this.#seen))}`));
      };
      this.#look = () => {
        const match = pattern.exec(this.all.slice(this.#seen));
        if (match !== null) {
          const end = this.#seen + match.index + match[0].length;
          const came = this.all.slice(this.#seen, end);
          this.#seen = end;
          done();
          resolve(came);
        } else if (this.terminal.readableEnded) {
          fail('did not come before the end');
        }
      };
      this.#look();
    });
  }
}

/** What a person does not see: escape sequences, and the returns before newlines. */
export const plain = (text: string): string =>
  text.replace(/\x1b(?:\[[0-9;?]*[a-zA-Z]|[()][A-Z0-9]|[=>])/g, '').replaceAll('\r', '');
