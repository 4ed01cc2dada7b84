import { parseFields } from '../../src/connections/fields.ts'
import { ReferencedSecret, reference } from '../../src/connections/reference.ts'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import type { Secret } from '../../src/secret.ts'
import { connectionsIn } from '../../src/stores/connections.ts'
import { loginFields, type StoreFieldValues, storeFields } from '../../src/stores/fields.ts'
import { OpenStores, type StoreContext } from '../../src/stores/open.ts'
import { storeProblems } from '../../src/stores/problems.ts'
import type { StoredSecret } from '../../src/vault/stored-secret.ts'

export interface OpenedStore extends Disposable {
  read(signal?: AbortSignal): Promise<StoredSecret>
  /** The field that the reference names, or the whole text. */
  value(): Promise<string>
  /** The versions that are tried after the present one was refused. */
  others(): Promise<string[]>
  /** The error of a reading that must fail. */
  failure(signal?: AbortSignal): Promise<PoolsmithError>
}

/** The store that a reference names, with options of a connection and past its cache. @throws ConfigError */
export function openStore(
  text: string,
  options: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>> = {},
  agents?: StoreContext['agents'],
): OpenedStore {
  const { present } = parseFields({ present: reference('') }, { present: text }).values
  if (!(present instanceof ReferencedSecret)) throw new Error(`${text} is no reference`)
  const named = present.reference
  const { values, problems } = parseFields({ ...storeFields, ...loginFields([named.scheme], options) }, options)
  const checked = values as StoreFieldValues
  const references = new Map([['password', present]])
  const all = [...problems, ...storeProblems(references, checked, environment, {})]
  if (all.length > 0) throw new ConfigError(all)
  const stores = new OpenStores(checked, {
    environment,
    connection: {},
    connections: connectionsIn({ environment }),
    agents,
    emit: () => undefined,
  })
  const reader = stores.readerOf(named)
  const limit = AbortSignal.timeout(60_000)
  const read = async (signal = limit): Promise<StoredSecret> =>
    (await reader.read(named.path, { signal, isFresh: true })).secret
  const valueIn = (secret: StoredSecret): Secret => secret.read(named.field, reader.placeOf(named.path))
  return {
    read,
    value: async () => valueIn(await read()).reveal(),
    async others() {
      const found = await reader.others(named.path, await read(), limit)
      return found.map((secret) => valueIn(secret).reveal())
    },
    async failure(signal) {
      const error = await read(signal).then(
        (secret) => new Error(`a secret was read, with ${valueIn(secret).reveal().length} characters`),
        (reason: unknown) => reason,
      )
      if (error instanceof PoolsmithError) return error
      throw error
    },
    [Symbol.dispose]: () => stores.close(),
  }
}
