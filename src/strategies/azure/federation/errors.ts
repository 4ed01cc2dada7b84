import { type ErrorCode, PoolsmithError } from '../../../errors.ts'

/** The steps from a ticket to a token, for programs (`details.step`). */
export type FederationStep = 'realm' | 'metadata' | 'assertion' | 'token'

export interface FederationErrorOptions {
  readonly hint: string
  readonly step: FederationStep
  readonly transient?: boolean
  readonly details?: Readonly<Record<string, unknown>>
  /** Never an error that holds what was sent or received. */
  readonly cause?: unknown
}

export function federationError(
  code: Extract<ErrorCode, `FEDERATION_${string}`>,
  message: string,
  { step, details, ...rest }: FederationErrorOptions,
): PoolsmithError {
  return new PoolsmithError(message, { code, phase: 'credential', ...rest, details: { step, ...details } })
}

/**
 * A server's own words for a message: one line of at most 300 characters, without anything that could be a token, an
 * assertion or a piece of one.
 */
export function plainWords(text: string): string {
  const words = text
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .replaceAll(/[\w+/=.~-]{40,}/g, '[...]')
    .replaceAll(/<[^>]*>?/g, '')
  return words.length > 300 ? `${words.slice(0, 297)}...` : words
}
