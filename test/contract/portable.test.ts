import { engineContract } from './index.js';

process.env['VIRCOMMAND_ENGINE'] = 'portable';
engineContract('portable');
