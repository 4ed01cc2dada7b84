import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import { RECORD, ReferencedSecret } from '../connections/reference.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import { connectionsIn } from '../stores/connections.ts'
import type { StoreFieldValues } from '../stores/fields.ts'
import { OpenStores } from '../stores/open.ts'
import type { StoreOptions } from '../stores/options.ts'
import { referencedSource } from '../stores/referenced-source.ts'
import { References } from '../stores/references.ts'
import type { Origin } from '../stores/store.ts'
import type { StrategyContext } from '../strategies/strategy.ts'
import { secretsOf, withParts } from './references.ts'
import type { Settings } from './settings.ts'

/** Login and password of a connection that came from a store, which are read again from there. */
const PARTS_OF_RECORD = new Map(
  (['login', 'password'] as const).map((field) => [field, { scheme: RECORD, path: 'connection', field } as const]),
)

/**
 * Makes the source of the strategy for a connection some of whose options, or which itself, is in a store of secrets.
 *
 * @param origin the store that gave the connection; undefined where it holds no password
 */
export function sourceFromStores(
  connection: Connection,
  { strategy, strategyOptions, all, fields, references: given }: Settings<Fields>,
  context: StrategyContext,
  { origin, stores: options }: { readonly origin: Origin | undefined; readonly stores: StoreOptions },
): CredentialSource {
  const references = new Map(given)
  if (origin !== undefined) {
    for (const [name, reference] of PARTS_OF_RECORD) {
      if (!references.has(name) && connection[name] !== undefined) references.set(name, new ReferencedSecret(reference))
    }
  }
  const { environment, agents, emit, listens } = context
  const stores = new OpenStores(all as StoreFieldValues, {
    environment,
    connection,
    agents,
    origin,
    connections: connectionsIn({ agents, ...options, environment }),
    listens,
    emit,
  })
  return referencedSource({
    references: new References(references, stores.readerOf),
    emit,
    close: () => stores.close(),
    make(values, emitOfStrategy) {
      // Secrets of the driver follow. The strategy gets those of this moment, which it may compare and keep.
      for (const [name, value] of values) {
        const option = references.get(name)
        if (option !== undefined) option.present = value
      }
      return strategy.credentials(
        withParts(connection, values),
        { ...strategyOptions, ...secretsOf(strategy.fields, values) },
        { ...context, emit: emitOfStrategy, settings: { ...all, ...secretsOf(fields, values) } },
      )
    },
  })
}
