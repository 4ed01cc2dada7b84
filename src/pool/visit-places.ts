/** A session at every server of a list, to see which role each has and how it answers. */

import { within } from '../abort.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Place } from '../hosts/place.ts'
import { asPoolsmithError, NotTried } from './failures.ts'
import { sayGoodbye } from './goodbye.ts'
import type { ListeningConfig } from './listening.ts'
import type { PlaceVisit } from './types.ts'

/** See {@link ConnectionPool.visitPlaces}. */
export function visitPlaces<Raw extends object>(
  driver: Driver<Raw>,
  config: ListeningConfig<Raw>,
): Promise<PlaceVisit[]> {
  return Promise.all((driver.places ?? []).map((place) => visit(place, driver, config)))
}

async function visit<Raw extends object>(
  place: Place,
  driver: Driver<Raw>,
  { open, policy }: ListeningConfig<Raw>,
): Promise<PlaceVisit> {
  const { host, port } = place
  try {
    const session = await open(place)
    const { raw, openingMillis, credentialMillis } = session
    try {
      const info = driver.info(raw)
      // A server that cannot tell has given a session all the same.
      const lag = within(driver.lagMillis?.(raw) ?? Promise.resolve(undefined), policy.checkMillis)
      const lagMillis = await lag.catch(() => undefined)
      return { host, port, info, openingMillis: openingMillis - credentialMillis, lagMillis, error: undefined }
    } finally {
      session.condemned = 'drained'
      await sayGoodbye(session, driver)
    }
  } catch (thrown) {
    const error = thrown instanceof NotTried ? thrown.refusal : asPoolsmithError(thrown, 'connect')
    return { host, port, info: undefined, openingMillis: undefined, lagMillis: undefined, error }
  }
}
