import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import type { Place } from '../hosts/place.ts'
import type { Session } from './session.ts'
import type { PlaceStats } from './types.ts'

/** For events about a session: the server of the list that it was opened at, else that of the record. */
export function serverOf<Raw extends object>(
  raw: Raw,
  { driver, where }: { readonly driver: Driver<Raw>; readonly where: Whereabouts | undefined },
): { readonly host: string | undefined; readonly port: number | undefined } {
  const { host, port } = driver.placeOf?.(raw) ?? where ?? {}
  return { host, port }
}

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

/** The servers that a driver opens sessions at, with the number of all sessions there and of the idle ones. */
export function placeStats<Raw extends object>(
  driver: Driver<Raw>,
  sessions: readonly Session<Raw>[],
  idle: readonly Session<Raw>[],
): PlaceStats[] {
  const [all, free] = [countByPlace(driver, sessions), countByPlace(driver, idle)]
  return (driver.places ?? []).map((place) => ({
    ...place.facts,
    sessions: all.get(place) ?? 0,
    idle: free.get(place) ?? 0,
  }))
}
