import { engineContract } from './index.js';

process.env['VIRCOMMAND_ENGINE'] = 'native';
engineContract('native');
