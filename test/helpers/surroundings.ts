// What a test makes may be read by the users that it runs programs as, whatever mask the starter of the tests has. Tests of masks set their own.
process.umask(0o022);
