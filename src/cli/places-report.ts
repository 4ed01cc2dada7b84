/** The servers of a list of hosts, as `check` shows them. */

import type { PlaceVisit } from '../pool/types.ts'
import { printable } from '../printable.ts'
import { duration, rows } from './layout.ts'

/** For `--json`. */
export function placesData(visits: readonly PlaceVisit[]): readonly Record<string, unknown>[] {
  return visits.map(({ host, port, info, openingMillis, lagMillis, error }) => ({
    host,
    port,
    address: info?.place?.address,
    role: info?.place?.role,
    version: info?.serverVersion,
    openingMillis: openingMillis === undefined ? undefined : Math.round(openingMillis * 10) / 10,
    lagMillis,
    error: error?.toJSON(),
  }))
}

/** One row for each, with the role, the lag and the time of the login. */
export function placesText(visits: readonly PlaceVisit[], width: number): string {
  return rows(
    visits.map((visit) => [nameOf(visit), findingOf(visit)]),
    width,
  )
}

function nameOf({ host, port }: PlaceVisit): string {
  return port === undefined ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function findingOf({ info, openingMillis = 0, lagMillis, error }: PlaceVisit): string {
  if (info === undefined) return `no session (${error?.phase}): ${printable(error?.message ?? '')}`
  const lag = lagMillis === undefined ? undefined : lagMillis === 0 ? 'not behind' : `${duration(lagMillis)} behind`
  const { role = 'role unknown' } = info.place ?? {}
  const parts = [role, lag, `login in ${duration(openingMillis)}`, `version ${info.serverVersion}`, info.peer]
  return parts.filter((part) => part !== undefined).join(', ')
}
