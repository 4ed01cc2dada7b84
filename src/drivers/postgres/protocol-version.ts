/** Versions of the frontend/backend protocol (PostgreSQL documentation, "Protocol Versions"). */

import { PoolsmithError } from '../../errors.ts'
import { type BodyReader, NotPostgres } from './messages.ts'

/** As in the start-up message: major version in the upper half, minor version in the lower. */
const NUMBERS = { '3.0': 0x3_0000, '3.2': 0x3_0002, latest: 0x3_0002 } as const
/** It was reserved and never published. */
const NEVER_PUBLISHED = 0x3_0001

export interface ProtocolVersions {
  readonly lowest: number
  /** The version that is asked for. */
  readonly highest: number
}

interface ProtocolOptions {
  readonly min_protocol_version: keyof typeof NUMBERS
  readonly max_protocol_version: keyof typeof NUMBERS | undefined
}

/** libpq's defaults: 3.0, since servers and poolers before 2025 may not know how to decline another; the latest where more is demanded. */
export function protocolVersions({
  min_protocol_version: min,
  max_protocol_version: max = min === '3.0' ? '3.0' : 'latest',
}: ProtocolOptions): ProtocolVersions {
  return { lowest: NUMBERS[min], highest: NUMBERS[max] }
}

/**
 * Reads NegotiateProtocolVersion: the version that the server can speak instead of the one asked for.
 *
 * @throws PoolsmithError PROTOCOL_UNSUPPORTED for a version below the lowest; NotPostgres for an answer that makes no sense
 */
export function negotiatedVersion(body: BodyReader, { lowest, highest }: ProtocolVersions): number {
  const offered = body.int32()
  const unknownOptions = body.int32()
  // We ask for no options, so that a server which declines some, or nothing at all, is none.
  if (unknownOptions !== 0 || offered >= highest || offered === NEVER_PUBLISHED) {
    throw new NotPostgres('an offer of a protocol version that was not asked for')
  }
  if (offered >= lowest) return offered
  throw new PoolsmithError(`The server speaks version ${shown(offered)} of the protocol at most.`, {
    code: 'PROTOCOL_UNSUPPORTED',
    phase: 'login',
    hint: `It must be ${shown(lowest)} at least (min_protocol_version). PostgreSQL 18 speaks 3.2; a pooler in between may not.`,
  })
}

/** The bounds of a key for cancelling, in bytes. */
export function keyBounds(version: number): { readonly min: number; readonly max: number } {
  return version === NUMBERS['3.0'] ? { min: 4, max: 4 } : { min: 4, max: 256 }
}

const shown = (version: number): string => `${version >> 16}.${version & 0xffff}`
