import type { Driver } from '../drivers/driver.ts'
import type { Place } from '../hosts/place.ts'
import type { PlaceStats } from './types.ts'

/** The servers that a driver opens sessions at, with the number of the sessions there. */
export function placeStats<Raw extends object>(driver: Driver<Raw>, sessions: Iterable<Raw>): PlaceStats[] {
  const counts = new Map<Place | undefined, number>()
  for (const raw of sessions) {
    const place = driver.placeOf?.(raw)
    counts.set(place, (counts.get(place) ?? 0) + 1)
  }
  return (driver.places ?? []).map((place) => ({ ...place.facts, sessions: counts.get(place) ?? 0 }))
}
