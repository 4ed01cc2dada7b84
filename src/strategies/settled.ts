import type { Credential } from '../credentials/credential.ts'
import { PoolsmithError } from '../errors.ts'

type Fetch = (signal: AbortSignal) => Promise<Credential>

/** A secret of a store may be missing for the moment in which it is replaced. */
const MISSING: ReadonlySet<string> = new Set(['CREDENTIAL_MISSING', 'SECRET_MISSING'])

/**
 * Once an identity has been found here, not finding it is a fault that passes: a metadata service that hiccups, a
 * profile that is being rewritten. Only the first time it means that there is none, and that trying again is no use.
 */
export function settled(fetch: Fetch): Fetch {
  let found = false
  return async (signal) => {
    try {
      const credential = await fetch(signal)
      found = true
      return credential
    } catch (error) {
      if (!found || !(error instanceof PoolsmithError) || !MISSING.has(error.code)) throw error
      throw error.with({ transient: true })
    }
  }
}
