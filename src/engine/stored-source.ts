import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import type { StoreFieldValues } from '../stores/fields.ts'
import { OpenStores } from '../stores/open.ts'
import { referencedSource } from '../stores/referenced-source.ts'
import { References } from '../stores/references.ts'
import type { StrategyContext } from '../strategies/strategy.ts'
import { secretsOf, withParts } from './references.ts'
import type { Settings } from './settings.ts'

/** Makes the source of the strategy for a connection some of whose options are in stores of secrets. */
export function sourceFromStores(
  connection: Connection,
  { strategy, strategyOptions, all, fields, references }: Settings<Fields>,
  context: StrategyContext,
): CredentialSource {
  const { environment, agents, emit, listens } = context
  const stores = new OpenStores(all as StoreFieldValues, { environment, connection, agents, listens, emit })
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
