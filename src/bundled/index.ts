// The entry for a bundler, by the condition `module`: what is loaded by `require()` elsewhere must stand in the bundle itself.
import './dependencies.js';

export * from '../index.js';
