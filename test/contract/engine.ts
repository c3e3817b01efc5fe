/** An engine, and where its promise differs from the others'. Everything else is the same for all: that is the contract. */
export interface EngineUnderTest {
  readonly name: 'native' | 'portable';
  /** Arguments and variables may be bytes that are not UTF-8. */
  readonly passesBytes: boolean;
  /** An end by a real-time signal is told as such. */
  readonly tellsRealTimeSignals: boolean;
  /** Descriptors that this process inherited without close-on-exec do not reach the program. */
  readonly closesInherited: boolean;
  /** The working directory is entered with the rights of the user that the program runs as. */
  readonly entersDirectoryAsUser: boolean;
}

export const engines: Readonly<Record<EngineUnderTest['name'], EngineUnderTest>> = {
  native: {
    name: 'native',
    passesBytes: true,
    tellsRealTimeSignals: true,
    closesInherited: true,
    entersDirectoryAsUser: true,
  },
  portable: {
    name: 'portable',
    passesBytes: false,
    tellsRealTimeSignals: false,
    closesInherited: false,
    entersDirectoryAsUser: false,
  },
};
