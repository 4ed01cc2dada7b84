/** Doubt about the role of a server, and the errors of a session whose server has another role by now. */

import { PoolsmithError } from '../errors.ts'
import { Place } from '../hosts/place.ts'

/**
 * Whether the sessions of a driver still have the role that they were opened for.
 *
 * A write that is refused as read-only may mean that the server has become a standby, as after a failover, and a standby
 * may have been promoted. Every session that is open at that time must then prove its role before it is handed out again,
 * in every engine that names one of the servers.
 */
export class RoleDoubt {
  readonly #places: readonly Place[]
  #sum = 0
  /** {@link Place.doubts} when the sum was taken. */
  #sumAt = -1

  /** @param places the servers of the driver */
  constructor(places: readonly Place[]) {
    this.#places = places
  }

  /** The value for a session that was just opened, or has just proved its role. On the hot path. */
  get current(): number {
    if (this.#sumAt !== Place.doubts) {
      this.#sumAt = Place.doubts
      this.#sum = this.#places.reduce((sum, { doubts }) => sum + doubts, 0)
    }
    return this.#sum
  }

  /** A server has changed its role. */
  raise(): void {
    for (const place of this.#places) place.doubt()
  }
}

export function roleError(host: string, role: 'primary' | 'standby'): PoolsmithError {
  return new PoolsmithError(`The server ${host} has become a ${role}.`, {
    code: 'SERVER_ROLE_MISMATCH',
    phase: 'query',
    transient: true,
    hint: 'A failover does this; the next session is opened at a server with the role that target_session_attrs asks for.',
  })
}

export function readOnlyError(host: string): PoolsmithError {
  return new PoolsmithError(`The session with ${host} has become read-only.`, {
    code: 'SESSION_READ_ONLY',
    phase: 'query',
    transient: true,
    hint: 'The server may have become a standby; check that the host leads to the primary.',
  })
}
