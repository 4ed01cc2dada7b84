import { ConfigError } from '../../errors.ts'
import { ApiKeys, type ApiKeysOptions } from './api-keys.ts'
import { KeyStore } from './key-store.ts'
import { DEFAULT_PREFIX, PREFIX } from './key-text.ts'
import { openPlace } from './place.ts'

/**
 * Opens the API keys in a store of secrets. Nothing is read yet. Close them at the end.
 *
 * @param place the secret of the index, without a field: `vault:secret/api-keys`, `encrypted:api-keys`,
 *   `k8s:prod/api-keys`, `aws-sm:api-keys`
 * @throws ConfigError
 *
 * @example
 * using keys = await openApiKeys('vault:secret/api-keys')
 * const { key } = await keys.generate('billing')
 * const caller = await keys.validate(key) // undefined: it is not valid
 */
export async function openApiKeys(place: string, options: ApiKeysOptions = {}): Promise<ApiKeys> {
  const { prefix = DEFAULT_PREFIX, ttl = 30, grace = 3600, keep = 'key' } = options
  const problems = [
    ...(PREFIX.test(prefix) ? [] : [{ path: 'prefix', message: 'expected 2 to 16 small letters and digits' }]),
    ...(ttl >= 0 && ttl <= 86_400 ? [] : [{ path: 'ttl', message: 'expected seconds from 0 to a day' }]),
    ...(grace >= 0 && grace <= 7 * 86_400 ? [] : [{ path: 'grace', message: 'expected seconds from 0 to a week' }]),
    ...(keep === 'key' || keep === 'hash' ? [] : [{ path: 'keep', message: 'expected key or hash' }]),
  ]
  if (problems.length > 0) throw new ConfigError(problems, { subject: 'The options of API keys' })
  const opened = await openPlace(place, options.store ?? {}, options.environment ?? process.env)
  return new ApiKeys(new KeyStore(opened), options)
}
