// Prints how long one import takes in a process that has imported nothing else.
const [, , name] = process.argv;
const before = performance.now();
await import(name);
console.log(JSON.stringify({ us: (performance.now() - before) * 1000 }));
process.exit(0);
