import type { Driver } from '../drivers/driver.ts'
import type { Place } from '../hosts/place.ts'
import type { Session } from './session.ts'
import type { PlaceStats } from './types.ts'

/** The number of sessions at each place. */
export function countByPlace<Raw extends object>(
  driver: Driver<Raw>,
  sessions: readonly Session<Raw>[],
): ReadonlyMap<Place | undefined, number> {
  const counts = new Map<Place | undefined, number>()
  for (const { raw } of sessions) {
    const place = driver.placeOf?.(raw)
    counts.set(place, (counts.get(place) ?? 0) + 1)
  }
  return counts
}

/** The servers that a driver opens sessions at, with the number of the sessions there. */
export function placeStats<Raw extends object>(driver: Driver<Raw>, sessions: readonly Session<Raw>[]): PlaceStats[] {
  const counts = countByPlace(driver, sessions)
  return (driver.places ?? []).map((place) => ({ ...place.facts, sessions: counts.get(place) ?? 0 }))
}
