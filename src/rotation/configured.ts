/** A record with its checked options and its stores. Loaded when it is needed, because it leads to all strategies and stores. */

import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import { configure } from '../engine/configure.ts'
import { loadProxies } from '../engine/proxies.ts'
import type { Settings } from '../engine/settings.ts'
import { connectionsIn } from '../stores/connections.ts'
import type { StoreFieldValues } from '../stores/fields.ts'
import { OpenStores } from '../stores/open.ts'
import type { StoreOptions } from '../stores/options.ts'
import { strategies } from '../strategies/index.ts'

export interface Configured {
  /** The record with every option under our name for it. */
  readonly connection: Connection
  readonly settings: Settings<Fields>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The stores that its references name, through the proxy of the connection. Close them. */
  readonly stores: OpenStores
}

/** @throws ConfigError */
export async function configured(given: Connection, options: StoreOptions): Promise<Configured> {
  const { environment = process.env } = options
  const { connection, settings } = await configure(given, { registry: strategies, environment })
  const proxies = loadProxies(settings.proxy, { environment, emit: () => undefined })
  const agents = proxies?.agents
  const stores = new OpenStores(settings.all as StoreFieldValues, {
    environment,
    connection,
    agents,
    connections: connectionsIn({ agents, ...options, environment }),
    onClose: () => proxies?.close(),
    emit: () => undefined,
  })
  return { connection, settings, environment, stores }
}
