import { engineContract } from './contract/index.js';

process.env['VIRCOMMAND_ENGINE'] = 'portable';
engineContract('portable');
