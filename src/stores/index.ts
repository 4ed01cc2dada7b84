/** The door `poolsmith/secrets`: stores of connections, variables and configuration. */

import '../supported-node.ts'

export type { ConnectionInput } from '../connections/parse.ts'
export { Secret } from '../secret.ts'
export type { StoreSettings } from './kinds.ts'
export type { StoreOptions } from './options.ts'
export type { AskOptions, Found, Store } from './store.ts'
export { type LookUpOptions, type OpenStoresOptions, openStores, type Stores } from './stores.ts'
