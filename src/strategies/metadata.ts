/** The metadata service of a cloud's machine: what its silence and its refusals mean. */

import { errorCode } from '../any-error.ts'
import type { Fault } from '../credentials/failure.ts'

/**
 * Attempts in a row for the identity of a machine, which come to half a minute of waits: its metadata service may be
 * late when the machine has just started. `pool_timeout` ends them sooner.
 */
export const LATE_METADATA_ATTEMPTS = 8

/** It answers 404 or 410 while it starts, or while the machine's identity has just been assigned. */
export function isLate({ status }: Fault): boolean {
  return status === 404 || status === 410
}

const NO_ROUTE = new Set(['EADDRNOTAVAIL', 'ECONNREFUSED', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETUNREACH'])

/** Nothing is there: this is no machine of the cloud. */
export function isNoRoute(error: unknown): boolean {
  return NO_ROUTE.has(errorCode(error) ?? '')
}

export function metadataHint(host: string): string {
  return `Check that the metadata service ${host} answers from here, and that an identity is attached to this machine.`
}
