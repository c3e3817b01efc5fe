import { engineContract } from './contract/index.js';

process.env['VIRCOMMAND_ENGINE'] = 'native';
engineContract('native');
