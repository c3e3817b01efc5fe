// The entry `vircommand/testing` for a bundler: see index.ts.
import './dependencies.js';

export * from '../testing.js';
