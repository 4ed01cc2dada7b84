/** The secrets in which API keys are kept: an index of all services, and one secret with the key of each service. */

import { FieldMismatch, parseFields } from '../../connections/fields.ts'
import { type ReferencedSecret, reference } from '../../connections/reference.ts'
import { ConfigError } from '../../errors.ts'
import type { StoreFieldValues } from '../../stores/fields.ts'
import type { SecretReader } from '../../stores/reader.ts'

export interface KeyPlace {
  readonly store: SecretReader
  /** The secret of the index, with a field for each service. */
  readonly index: string
  /** The secret with the key of a service. */
  pathOf(service: string): string
}

const EXAMPLES = 'vault:secret/api-keys, encrypted:api-keys or k8s:prod/api-keys'
/** Stores whose names have no folders. */
const FLAT: ReadonlySet<string> = new Set(['k8s', 'azure-kv', 'gcp-sm', 'file'])
const NO_DATABASE = { host: undefined, port: undefined }

/**
 * @param options those of the store, under their names in the extras of a connection
 * @throws ConfigError
 */
export async function openPlace(
  place: string,
  options: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<KeyPlace> {
  const { loginFields, storeFields } = await import('../../stores/fields.ts')
  const { storeProblems } = await import('../../stores/problems.ts')
  const { OpenStores } = await import('../../stores/open.ts')
  const { connectionsIn } = await import('../../stores/connections.ts')
  const found = referenceTo(place)
  const { scheme, path } = found.reference
  const { loadProxies } = await import('../../engine/proxies.ts')
  const { proxyFields } = await import('../../drivers/network/proxy/options.ts')
  const fields = { ...proxyFields, ...storeFields, ...loginFields([scheme], options) }
  const { values, problems } = parseFields(fields, options, { strict: true })
  const all = [
    ...problems,
    ...storeProblems(new Map([['key', found]]), values as StoreFieldValues, environment, NO_DATABASE),
  ]
  if (all.length > 0) throw new ConfigError(all, { subject: 'The store of API keys' })
  const proxies = loadProxies(values, { environment, emit: () => undefined })
  const agents = proxies?.agents
  const stores = new OpenStores(values as StoreFieldValues, {
    environment,
    connection: NO_DATABASE,
    agents,
    connections: connectionsIn({ environment, agents }),
    emit: () => undefined,
  })
  const separator = FLAT.has(scheme) ? '-' : '/'
  const store = stores.open(found.reference)
  const close = (): void => {
    store.close?.()
    proxies?.close()
  }
  return { store: { ...store, close }, index: path, pathOf: (service) => path + separator + service }
}

function referenceTo(place: unknown): ReferencedSecret {
  const problem = { path: 'place', message: `expected the place of a secret without a field, such as ${EXAMPLES}` }
  try {
    // A reference to a secret of Kubernetes has to name a field.
    const found = typeof place !== 'string' || place.includes('#') ? undefined : reference('').parse(`${place}#index`)
    if (found !== undefined) return found
  } catch (error) {
    if (!(error instanceof FieldMismatch)) throw error
  }
  throw new ConfigError([problem], { subject: 'The store of API keys' })
}
