/** What createEngine needs once it is called; importing poolsmith does not load it. */

export { ClientBackend } from './backend.ts'
export { knexClient } from './clients.ts'
export { readKnexOptions } from './knex-options.ts'
