// By file: its CommonJS form assigns to a variable that it never declares, which an ES module, and so a bundle, does not allow.
import { sprintf } from 'printj/printj.mjs';
import { onExit } from 'signal-exit';
import { signals } from 'signal-exit/signals';
import { provide } from '../native/dependencies.js';
import { bare } from '../spec/bare.js';

provide(bare({ printj: { sprintf }, 'signal-exit': { onExit, signals } }));
