import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import type { WriteOptions } from './reader.ts'

/**
 * The text that follows a secret, for a store whose secrets are texts: the text without a name, or the fields as JSON.
 *
 * @param fields as a reader's `write` takes them
 */
export function textFollowing(replaces: WriteOptions['replaces'], fields: ReadonlyMap<string, Secret>): Secret {
  const whole = fields.size === 1 ? fields.get('') : undefined
  return whole ?? new Secret(JSON.stringify((replaces ?? new StoredSecret({})).followedBy(fields)))
}

/** The error of a write that found another version than the one that it replaces. */
export function conflict(place: string, replaces: WriteOptions['replaces']): PoolsmithError {
  const what =
    replaces === undefined ? 'exists already' : `has another version than ${replaces.version} by now, which was read`
  return new PoolsmithError(`${place} ${what}; it was not replaced.`, {
    code: 'SECRET_CONFLICT',
    phase: 'credential',
    hint: 'Read the secret again, and decide on its present version.',
  })
}
