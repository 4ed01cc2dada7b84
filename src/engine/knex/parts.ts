/** The parts that createEngine needs once it is called; importing poolsmith does not load them. */

export { ClientBackend } from './backend.ts'
export { knexClient } from './clients.ts'
export { readKnexOptions } from './knex-options.ts'
